"""Freezes of a profile's calls, pauses of a whole profile, and the probes that end them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Label, Row, and_, bindparam, delete, select, update

from worker.adapters.database.rows import inserted
from worker.adapters.database.tables import MESSAGE_LIMIT, pauses, service_state
from worker.adapters.database.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.types import clean, utcnow
from worker.errors import Channel

PROBE_SECONDS = 30.0
"""How long a probe keeps everybody else waiting before another one may be tried."""

PAUSE_LOOK = 60.0
"""How long a claimer waits before it looks at a paused profile again: it is probed this often."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Where the calls of one kind stand.

    Attributes:
        state: `thawing` once a freeze is over but no call has gone well yet.
        wait: seconds until it is worth looking again.
        probe: the claim whose uploads may pass while thawing.
    """

    state: Literal["open", "frozen", "thawing", "paused"]
    wait: float = 0.0
    probe: UUID | None = None


OPEN = Gate("open")

_THIS = and_(
    service_state.c.profile == bindparam("profile"), service_state.c.channel == bindparam("channel")
)
_PAUSED = pauses.c.profile == bindparam("profile")


def _looked_up(column: Column[Any], condition: ColumnElement[bool]) -> Label[Any]:
    return select(column).where(condition).scalar_subquery().label(column.name)


# One row in any case, also for a profile that was never frozen or paused.
_LOOK = select(
    utcnow().label("now"),
    _looked_up(service_state.c.frozen_until, _THIS),
    _looked_up(service_state.c.probe_until, _THIS),
    _looked_up(service_state.c.probe_token, _THIS),
    _looked_up(pauses.c.paused_at, _PAUSED),
)
_LOCK = select(service_state).where(_THIS).with_for_update()


def look(tx: Transaction, profile: str, channel: Channel) -> Gate:
    """Read the gate, and the clock with it."""
    row = tx.run(_LOOK, {"profile": profile, "channel": channel}).one()
    tx.looked_at(row.now)
    return Gate("paused", PAUSE_LOOK) if row.paused_at is not None else _judged(tx, row)


def look_locked(tx: Transaction, profile: str, channel: Channel) -> Gate:
    """Read the gate again while nobody else can change it: one caller gets the probe."""
    row = tx.run(_LOCK, {"profile": profile, "channel": channel}).one_or_none()
    return OPEN if row is None else _judged(tx, row)


def _judged(tx: Transaction, row: Row[Any]) -> Gate:
    if row.frozen_until is None:
        return OPEN
    if row.frozen_until > tx.now:
        return Gate("frozen", tx.until(row.frozen_until))
    return Gate("thawing", tx.until(row.probe_until), row.probe_token)


def take_probe(tx: Transaction, profile: str, channel: Channel, token: UUID) -> None:
    """Let this claim be the probe; the gate is locked by `look_locked`."""
    tx.run(
        update(service_state)
        .where(service_state.c.profile == profile, service_state.c.channel == channel)
        .values(probe_until=tx.after(PROBE_SECONDS), probe_token=token)
    )


def frozen_until(tx: Transaction) -> dict[tuple[str, str], datetime]:
    """The freezes that are not over, by profile and channel."""
    found = select(service_state).where(service_state.c.frozen_until > tx.now)
    return {(row.profile, row.channel): row.frozen_until for row in tx.run(found)}


class GateStore(Repository):
    """The freezes and pauses of profiles, the same for all workers."""

    @writes
    def freeze(
        self,
        tx: Transaction,
        profile: str,
        channels: Collection[Channel],
        seconds: float,
        reason: str,
    ) -> None:
        """Hold these kinds of call for at least so many seconds; a longer freeze stays."""
        for channel in sorted(channels):
            inserted(
                tx,
                service_state,
                {"profile": profile, "channel": channel, "strikes": 0},
            )
            row = tx.run(_LOCK, {"profile": profile, "channel": channel}).one()
            changed = _struck(tx, row, seconds, reason)
            tx.run(
                update(service_state)
                .where(service_state.c.profile == profile, service_state.c.channel == channel)
                .values(**changed)
            )

    @writes
    def thaw(self, tx: Transaction, profile: str, channel: Channel) -> None:
        """Forget the freeze and its strikes; one that still runs was put later and stays."""
        tx.run(
            update(service_state)
            .where(
                service_state.c.profile == profile,
                service_state.c.channel == channel,
                service_state.c.frozen_until <= tx.now,
            )
            .values(
                frozen_until=None,
                strikes=0,
                first_frozen_at=None,
                reason=None,
                probe_until=None,
                probe_token=None,
            )
        )

    @reads
    def strikes(self, tx: Transaction, profile: str, channel: Channel) -> tuple[int, float]:
        """How many freezes in a row, and for how many seconds the first of them is past."""
        row = tx.run(select(service_state).where(_THIS), _key(profile, channel)).one_or_none()
        return (0, 0.0) if row is None else (row.strikes, tx.since(row.first_frozen_at))

    @writes
    def pause(self, tx: Transaction, profile: str, reason: str) -> None:
        """Hold everything until a probe went well; an earlier pause keeps its moment."""
        words = clean(reason, MESSAGE_LIMIT)
        inserted(
            tx,
            pauses,
            {"profile": profile, "paused_at": tx.now, "reason": words, "probe_at": tx.now},
        )
        tx.run(update(pauses).where(pauses.c.profile == profile).values(reason=words))

    @writes
    def take_probe(self, tx: Transaction, profile: str, every: float) -> bool:
        """Whether the caller should probe this paused profile now: once per `every` seconds."""
        taken = tx.run(
            update(pauses)
            .where(pauses.c.profile == profile, pauses.c.probe_at <= tx.now)
            .values(probe_at=tx.after(every))
        )
        return taken.rowcount == 1

    @writes
    def resume(self, tx: Transaction, profile: str) -> None:
        """A probe went well: the pause is over."""
        tx.run(delete(pauses).where(pauses.c.profile == profile))

    @reads
    def paused(self, tx: Transaction) -> list[str]:
        """The profiles that are paused."""
        return list(tx.run(select(pauses.c.profile).order_by(pauses.c.profile)).scalars())


def _key(profile: str, channel: str) -> dict[str, str]:
    return {"profile": profile, "channel": channel}


def _struck(tx: Transaction, row: Row[Any], seconds: float, reason: str) -> dict[str, Any]:
    # Calls in flight together hit the same wall together: while frozen, that is one strike.
    running = row.frozen_until is not None and row.frozen_until > tx.now
    until = tx.after(seconds)
    return {
        "frozen_until": max(until, row.frozen_until) if running else until,
        "strikes": row.strikes if running else row.strikes + 1,
        "first_frozen_at": row.first_frozen_at or tx.now,
        "reason": clean(reason, MESSAGE_LIMIT),
        "probe_until": None,
        "probe_token": None,
    }
