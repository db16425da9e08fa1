"""What waits to be worked on, and who says so to the workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, literal_column, select, update

from worker.adapters.database import gates
from worker.adapters.database.claim import CHANNELS
from worker.adapters.database.engine.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.rows import inserted
from worker.adapters.database.tables import LATER, POLL, READY, batches, files, pauses, wakes
from worker.core.lifecycle import Lane
from worker.core.model.fleet import Due
from worker.core.model.ids import Crew

_LANES = {READY: Lane.SUBMIT, LATER: Lane.SUBMIT, POLL: Lane.POLL}


def _first_after(lane: str) -> Select[Any]:
    """The first row of the next crew in a lane: one step of an index, however full the lane is."""
    order = files.c.turn if lane == READY else files.c.next_at
    index = "ix_files_ready" if lane == READY else "ix_files_due"
    profile = select(batches.c.profile).where(batches.c.id == files.c.batch_id).scalar_subquery()
    return (
        select(files.c.crew, files.c.next_at, profile.label("profile"))
        .where(files.c.lane == literal_column(f"'{lane}'"), files.c.crew > bindparam("crew"))
        .order_by(files.c.crew, order)
        .limit(1)
        .with_hint(files, f"FORCE INDEX ({index})", "mysql")
        .with_hint(files, f"FORCE INDEX ({index})", "mariadb")
    )


_FIRST_AFTER = {lane: _first_after(lane) for lane in _LANES}


def _first_in(lane: str) -> Select[Any]:
    return (
        select(files.c.next_at)
        .where(files.c.lane == literal_column(f"'{lane}'"), files.c.crew == bindparam("crew"))
        .order_by(files.c.next_at)
        .limit(1)
        .with_hint(files, "FORCE INDEX (ix_files_due)", "mysql")
        .with_hint(files, "FORCE INDEX (ix_files_due)", "mariadb")
    )


_FIRST_IN = {lane: _first_in(lane) for lane in _LANES}
_ALL_PAUSED = select(pauses.c.profile)
_TAKE = (
    update(wakes)
    .where(
        wakes.c.crew == bindparam("whose"),
        wakes.c.lane == bindparam("which"),
        wakes.c.until <= bindparam("now"),
    )
    .values(until=bindparam("until"))
)


@dataclass(frozen=True, slots=True)
class _First:
    profile: str
    crew: Crew
    lane: Lane
    at: datetime


class WakeStore(Repository):
    """Work that waits, and wake-ups."""

    @reads
    def due(self, tx: Transaction, within: float) -> list[Due]:
        """Every crew and lane with open files due within so many seconds, freezes counted."""
        earliest = _earliest(tx).values()
        freezes = gates.frozen_until(tx)
        paused = set(tx.run(_ALL_PAUSED).scalars())
        waits = [
            Due(first.profile, first.crew, first.lane, _wait(tx, first, freezes))
            for first in earliest
            if first.profile not in paused
        ]
        return [due for due in waits if due.wait <= within]

    @writes
    def take_wake(self, tx: Transaction, crew: Crew, lane: Lane, quiet: float) -> bool:
        """Whether the caller should send this wake-up: once per `quiet` seconds."""
        until = tx.after(quiet)
        over = {"whose": crew, "which": lane.value, "now": tx.now, "until": until}
        if tx.run(_TAKE, over).rowcount:
            return True
        first = {"crew": crew, "lane": lane.value, "until": until}
        return inserted(tx, wakes, first)


def _earliest(tx: Transaction) -> dict[tuple[Crew, Lane], _First]:
    found: dict[tuple[Crew, Lane], _First] = {}
    for lane in _LANES:
        for first in _firsts(tx, lane):
            known = found.setdefault((first.crew, first.lane), first)
            if first.at < known.at:
                found[first.crew, first.lane] = first
    return found


def crews(tx: Transaction) -> set[Crew]:
    """Everybody who has an open file."""
    return {first.crew for lane in _LANES for first in _firsts(tx, lane)}


def first_moment(tx: Transaction, crew: Crew, lane: Lane) -> datetime | None:
    """When the crew's first file of this lane is or was due, None when it has none."""
    moments = [
        row.next_at
        for name, kind in _LANES.items()
        if kind is lane
        for row in tx.run(_FIRST_IN[name], {"crew": crew})
    ]
    return min(moments, default=None)


def _firsts(tx: Transaction, lane: str) -> Iterator[_First]:
    crew = ""
    while row := tx.run(_FIRST_AFTER[lane], {"crew": crew}).one_or_none():
        crew = row.crew
        yield _First(row.profile, Crew(crew), _LANES[lane], row.next_at)


def _wait(tx: Transaction, first: _First, freezes: dict[tuple[str, str], datetime]) -> float:
    frozen = freezes.get((first.profile, CHANNELS[first.lane]))
    return max(tx.until(first.at), tx.until(frozen))
