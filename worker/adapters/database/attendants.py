"""Who is at work: each process that attends to files says so, and is believed for a while."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update

from worker.adapters.database.engine.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.engine.types import clean
from worker.adapters.database.leases import end_leases
from worker.adapters.database.rows import inserted
from worker.adapters.database.tables import NAME_LIMIT, attendants, slots
from worker.core.liveness import tokens_of
from worker.core.model.ids import Crew
from worker.core.seen import Attendant

KEPT = 3600.0
"""Seconds for which the row of a silent one waits to be buried: its leases have ended by then."""


def _silent(tx: Transaction) -> Any:
    return attendants.c.until <= tx.now


def _uuid(holder: str) -> UUID | None:
    """A worker's name; a run's is the word "run", and nobody takes its files from it."""
    try:
        return UUID(holder)
    except ValueError:
        return None


class AttendantStore(Repository):
    """The processes at work."""

    @writes
    def attend(
        self, tx: Transaction, holder: str, crew: Crew | None, place: str, ttl: float
    ) -> bool:
        """This process attends to a run's crew, or to every fleet, for `ttl` seconds more.

        From now on its leases bear its name. Returns whether somebody else has fallen silent.
        """
        self._database.holder = _uuid(holder)
        alive = {"until": tx.after(ttl), "crew": crew, "place": clean(place, NAME_LIMIT)}
        this = attendants.c.holder == holder
        if not tx.run(update(attendants).where(this).values(**alive)).rowcount:
            inserted(tx, attendants, {"holder": holder, "since": tx.now, **alive})
            tx.run(delete(attendants).where(attendants.c.until < tx.after(-KEPT)))
        return tx.run(select(attendants.c.holder).where(_silent(tx)).limit(1)).first() is not None

    @writes
    def leave(self, tx: Transaction, holder: str) -> None:
        """This process attends to nothing any more."""
        tx.run(delete(attendants).where(attendants.c.holder == holder))

    @writes
    def bury(self, tx: Transaction) -> list[str]:
        """End the leases and shares of who has fallen silent, so that others get them.

        Returns who it was. Nothing is taken from a row that another caller judges just now.
        """
        silent = select(attendants).where(_silent(tx)).with_for_update(skip_locked=True)
        names = [row.holder for row in tx.run(silent.order_by(attendants.c.holder))]
        for name in names:
            if (holder := _uuid(name)) is not None:
                end_leases(tx, *tokens_of(holder))
            tx.run(delete(slots).where(slots.c.holder == name))
        if names:
            tx.run(delete(attendants).where(attendants.c.holder.in_(names)))
        return names

    @reads
    def attendants(self, tx: Transaction) -> list[Attendant]:
        """The processes that are at work, the oldest first."""
        return living(tx)


def living(tx: Transaction) -> list[Attendant]:
    """The processes that said so lately, in the caller's transaction."""
    alive = select(attendants).where(attendants.c.until > tx.now)
    return [
        Attendant(row.holder, None if row.crew is None else Crew(row.crew), row.place, row.since)
        for row in tx.run(alive.order_by(attendants.c.since, attendants.c.holder))
    ]
