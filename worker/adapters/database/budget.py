"""Limits over the whole fleet: shares of the uploads in flight, and token buckets of calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, select, update

from worker.adapters.database.rows import inserted
from worker.adapters.database.tables import buckets, budgets, slots
from worker.adapters.database.transaction import Repository, Transaction, writes
from worker.errors import Channel

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class BudgetStore(Repository):
    """Limits over the whole fleet, per profile."""

    @writes
    def share(
        self, tx: Transaction, profile: str, holder: str, busy: int, ceiling: int, ttl: float
    ) -> int:
        """How many uploads this holder may have in flight now."""
        others = _live_others(tx, profile, holder)
        mine = _slot(tx, profile, holder)
        share = _fair_share(others, mine, holder, busy, ceiling)
        values = {"share": share, "busy": busy, "until": tx.after(ttl)}
        if mine is None:
            tx.run(slots.insert(), {"profile": profile, "holder": holder, **values})
        else:
            tx.run(update(slots).where(*_is(profile, holder)).values(**values))
        return share

    @writes
    def give_up_share(self, tx: Transaction, profile: str, holder: str) -> None:
        """The holder has no upload in flight any more."""
        tx.run(delete(slots).where(*_is(profile, holder)))

    @writes
    def take(
        self, tx: Transaction, profile: str, channel: Channel, rate: float, want: int
    ) -> tuple[int, float]:
        """Take up to `want` calls from a bucket of `rate` calls a second."""
        row = _locked_bucket(tx, profile, channel, rate)
        tokens = min(_burst(rate), row.tokens + tx.since(row.updated_at) * rate)
        granted = min(want, int(tokens))
        _refill(tx, row, tokens - granted)
        return granted, 0.0 if granted or want <= 0 else (1.0 - tokens) / rate


# --- shares --------------------------------------------------------------------------------------


def _is(profile: str, holder: str) -> tuple[Any, Any]:
    return slots.c.profile == profile, slots.c.holder == holder


def _live_others(tx: Transaction, profile: str, holder: str) -> Sequence[Row[Any]]:
    """The other holders that were heard of lately, with the profile's budget locked."""
    inserted(tx, budgets, {"profile": profile})
    tx.run(select(budgets).where(budgets.c.profile == profile).with_for_update())
    tx.run(delete(slots).where(slots.c.profile == profile, slots.c.until <= tx.now))
    others = select(slots).where(slots.c.profile == profile, slots.c.holder != holder)
    return tx.run(others).all()


def _slot(tx: Transaction, profile: str, holder: str) -> Row[Any] | None:
    return tx.run(select(slots).where(*_is(profile, holder))).one_or_none()


def _fair_share(
    others: Sequence[Row[Any]], mine: Row[Any] | None, holder: str, busy: int, ceiling: int
) -> int:
    names = sorted([holder, *(row.holder for row in others)])
    fair, left_over = divmod(ceiling, len(names))
    wanted = fair + (names.index(holder) < left_over)
    # Uploads in flight can't be called back: who has too many keeps them until they end.
    kept = min(busy, mine.share) if mine is not None else 0
    free = ceiling - sum(max(row.share, row.busy) for row in others)
    return int(max(0, min(max(wanted, kept), free)))


# --- buckets -------------------------------------------------------------------------------------


def _burst(rate: float) -> float:
    """One second's calls, and at least one, or a slow bucket would never be full enough."""
    return max(1.0, rate)


def _locked_bucket(tx: Transaction, profile: str, channel: Channel, rate: float) -> Row[Any]:
    full = {"tokens": _burst(rate), "updated_at": _LONG_AGO}
    key = {"profile": profile, "channel": channel}
    this = (buckets.c.profile == profile, buckets.c.channel == channel)
    inserted(tx, buckets, {**key, **full})
    return tx.run(select(buckets).where(*this).with_for_update()).one()


def _refill(tx: Transaction, row: Row[Any], tokens: float) -> None:
    # The clock was read after the lock was ours; should it step back, no time counts twice.
    tx.run(
        update(buckets)
        .where(buckets.c.profile == row.profile, buckets.c.channel == row.channel)
        .values(tokens=tokens, updated_at=max(tx.now, row.updated_at))
    )
