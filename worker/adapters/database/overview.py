"""What waits in the whole installation, counted for metrics.

History must not cost: what is open is counted batch by batch, from an index that holds all that is
asked, and only in batches that have not ended; the oldest of a lane is one step of another index.
"""

from __future__ import annotations

from collections import Counter

from sqlalchemy import bindparam, func, select

from worker.adapters.database import tallies
from worker.adapters.database.attendants import living
from worker.adapters.database.breakers import open_breakers
from worker.adapters.database.engine.transaction import Repository, Transaction, reads
from worker.adapters.database.rows import OPEN_LANES, OPEN_STATES
from worker.adapters.database.status import profile_state
from worker.adapters.database.tables import batches, files, outbox
from worker.adapters.database.wakes import crews, first_moment
from worker.core.lifecycle import BatchState, FileState, Lane
from worker.core.model.fleet import Overview
from worker.core.model.ids import Crew, is_run


class OverviewStore(Repository):
    """The numbers of the moment."""

    @reads
    def overview(self, tx: Transaction) -> Overview:
        """Open files, the oldest that are due, the profiles' states, the outbox."""
        everybody = crews(tx)
        open_files, oldest_due = _open_files(tx, everybody), _oldest_due(tx, everybody)
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


_OPEN = (
    select(batches.c.profile, files.c.state, func.count().label("number"))
    .join(files, files.c.batch_id == batches.c.id)
    .where(batches.c.finished_at.is_(None), files.c.state.in_(OPEN_STATES))
    .group_by(batches.c.profile, files.c.state)
)
_OF_RUNS = (
    select(batches.c.profile, files.c.state, func.count().label("number"))
    .join(files, files.c.batch_id == batches.c.id)
    .where(files.c.lane.in_(OPEN_LANES), files.c.crew.in_(bindparam("crews", expanding=True)))
    .group_by(batches.c.profile, files.c.state)
)


def _open_files(tx: Transaction, everybody: set[Crew]) -> dict[tuple[str, FileState], int]:
    """The fleet's open files by profile and state: all, less those of runs."""
    counts: Counter[tuple[str, FileState]] = Counter()
    for row in tx.run(_OPEN):
        counts[row.profile, FileState(row.state)] += row.number
    if runs := [crew for crew in everybody if is_run(crew)]:
        for row in tx.run(_OF_RUNS, {"crews": runs}):
            counts[row.profile, FileState(row.state)] -= row.number
    return dict(+counts)


def _oldest_due(tx: Transaction, everybody: set[Crew]) -> dict[tuple[str, Lane], float]:
    """For how long each profile's first file of a lane has been due; 0 when it is not."""
    return {
        (crew, lane): tx.since(first)
        for crew in everybody
        if not is_run(crew)
        for lane in Lane
        if (first := first_moment(tx, crew, lane)) is not None
    }
