"""What waits in the whole installation, counted for metrics."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from worker.adapters.database import tallies
from worker.adapters.database.attendants import living
from worker.adapters.database.breakers import open_breakers
from worker.adapters.database.engine.transaction import Repository, Transaction, reads
from worker.adapters.database.status import profile_state
from worker.adapters.database.tables import batches, files, outbox
from worker.core.lifecycle import BatchState, FileState, Lane
from worker.core.model.fleet import Overview
from worker.core.model.ids import is_run


class OverviewStore(Repository):
    """The numbers of the moment."""

    @reads
    def overview(self, tx: Transaction) -> Overview:
        """Open files, the oldest that are due, the profiles' states, the outbox."""
        open_files: dict[tuple[str, FileState], int] = {}
        oldest_due: dict[tuple[str, Lane], float] = {}
        for profile, state, number, first_due in _waiting(tx):
            open_files[profile, state] = number
            lane = state.lane
            if lane is not None:
                age = tx.since(first_due)
                oldest_due[profile, lane] = max(age, oldest_due.get((profile, lane), 0.0))
        known = select(batches.c.profile).where(batches.c.state == BatchState.RUNNING).distinct()
        profiles = {profile for profile, _ in open_files} | {row.profile for row in tx.run(known)}
        told = tx.run(
            select(
                func.count(outbox.c.next_at).label("waiting"),
                func.count(outbox.c.dead_at).label("dead"),
            )
        ).one()
        return Overview(
            open_files,
            oldest_due,
            {profile: profile_state(tx, profile)[0] for profile in sorted(profiles)},
            told.waiting,
            told.dead,
            sum(one.crew is None for one in living(tx)),
            {(each.profile, each.category): each.failures for each in open_breakers(tx)},
            tallies.ready_times(tx),
            tallies.unknown_uploads(tx),
            tallies.retrying(tx),
            tallies.firings(tx),
            tallies.ticked_ago(tx),
        )


def _waiting(tx: Transaction) -> list[tuple[str, FileState, int, datetime]]:
    """The fleet's open files by profile and state, and when the first of them is or was due."""
    counted = (
        select(
            files.c.crew,
            files.c.state,
            func.count().label("number"),
            func.min(files.c.next_at).label("first"),
        )
        .where(files.c.lane.is_not(None))
        .group_by(files.c.crew, files.c.state)
    )
    return [
        (row.crew, FileState(row.state), row.number, row.first)
        for row in tx.run(counted)
        if not is_run(row.crew)
    ]
