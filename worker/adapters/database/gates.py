"""Freezes of a profile's calls, pauses of a whole profile, and the probes that end them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Label, Row, and_, bindparam, delete, select, update

from worker.adapters.database.engine.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.engine.types import clean, utcnow
from worker.adapters.database.rows import inserted
from worker.adapters.database.tables import MESSAGE_LIMIT, pauses, service_state
from worker.core import gate
from worker.core.gate import PAUSED, PROBE_EVERY, PROBE_SECONDS, Freeze, Gate, judged
from worker.errors import Channel

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
_FROZEN = select(service_state).where(service_state.c.frozen_until > bindparam("now"))


def look(tx: Transaction, profile: str, channel: Channel) -> Gate:
    """Read the gate, and the clock with it."""
    row = tx.run(_LOOK, {"profile": profile, "channel": channel}).one()
    tx.looked_at(row.now)
    return PAUSED if row.paused_at is not None else judged(_freeze(row), tx.now)


def look_locked(tx: Transaction, profile: str, channel: Channel) -> Gate:
    """Read the gate again while nobody else can change it: one caller gets the probe."""
    row = tx.run(_LOCK, {"profile": profile, "channel": channel}).one_or_none()
    return judged(None if row is None else _freeze(row), tx.now)


def _freeze(row: Row[Any], strikes: int = 0) -> Freeze:
    return Freeze(row.frozen_until, strikes, row.probe_until, row.probe_token)


def take_probe(tx: Transaction, profile: str, channel: Channel, token: UUID) -> None:
    """Let this claim be the probe; the gate is locked by `look_locked`."""
    tx.run(
        update(service_state)
        .where(service_state.c.profile == profile, service_state.c.channel == channel)
        .values(probe_until=tx.after(PROBE_SECONDS), probe_token=token)
    )


def frozen_until(tx: Transaction) -> dict[tuple[str, str], datetime]:
    """The freezes that are not over, by profile and channel."""
    found = tx.run(_FROZEN, {"now": tx.now})
    return {(row.profile, row.channel): row.frozen_until for row in found}


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
    ) -> list[Channel]:
        """Hold these kinds of call for at least so many seconds; returns those open until now."""
        begun: list[Channel] = []
        for channel in sorted(channels):
            inserted(
                tx,
                service_state,
                {"profile": profile, "channel": channel, "strikes": 0},
            )
            row = tx.run(_LOCK, {"profile": profile, "channel": channel}).one()
            struck = gate.struck(_freeze(row, row.strikes), tx.now, tx.after(seconds))
            if not row.strikes:
                begun.append(channel)
            tx.run(
                update(service_state)
                .where(service_state.c.profile == profile, service_state.c.channel == channel)
                .values(
                    frozen_until=struck.until,
                    strikes=struck.strikes,
                    reason=clean(reason, MESSAGE_LIMIT),
                    probe_until=struck.probe_until,
                    probe_token=struck.probe,
                )
            )
        return begun

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
                reason=None,
                probe_until=None,
                probe_token=None,
            )
        )

    @reads
    def strikes(self, tx: Transaction, profile: str, channel: Channel) -> int:
        """How many freezes in a row."""
        chosen = select(service_state.c.strikes).where(_THIS)
        return tx.run(chosen, {"profile": profile, "channel": channel}).scalar_one_or_none() or 0

    @writes
    def pause(self, tx: Transaction, profile: str, reason: str) -> bool:
        """Hold everything until a probe went well; an earlier pause keeps its moment.

        Returns whether it begins with this call.

        The first probe comes as late as any other: what was just refused would be refused again.
        """
        words = clean(reason, MESSAGE_LIMIT)
        first_probe = tx.after(PROBE_EVERY)
        begins = inserted(
            tx,
            pauses,
            {"profile": profile, "paused_at": tx.now, "reason": words, "probe_at": first_probe},
        )
        tx.run(update(pauses).where(pauses.c.profile == profile).values(reason=words))
        return begins

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
