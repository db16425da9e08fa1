"""Limits over the whole fleet: shares of the uploads in flight, and token buckets of calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, and_, bindparam, delete, select, update

from worker.adapters.database.engine.transaction import Repository, Transaction, writes
from worker.adapters.database.rows import inserted
from worker.adapters.database.tables import buckets, budgets, slots
from worker.core import shares
from worker.core.shares import Share
from worker.errors import Channel

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

# --- statements: every worker asks for its share once a second -----------------------------------

_LOCK_BUDGET = select(budgets).where(budgets.c.profile == bindparam("of")).with_for_update()
_OF_PROFILE = slots.c.profile == bindparam("of")
_FORGET = delete(slots).where(_OF_PROFILE, slots.c.until <= bindparam("now"))
_OTHERS = select(slots).where(_OF_PROFILE, slots.c.holder != bindparam("by"))
_MINE = and_(_OF_PROFILE, slots.c.holder == bindparam("by"))
_SLOT = select(slots).where(_MINE)
_KEEP = (
    update(slots)
    .where(_MINE)
    .values({name: bindparam(name) for name in ("share", "busy", "until")})
)
_GIVE_UP = delete(slots).where(_MINE)
_THIS = and_(buckets.c.profile == bindparam("of"), buckets.c.channel == bindparam("by"))
_LOCK_BUCKET = select(buckets).where(_THIS).with_for_update()
_REFILL = (
    update(buckets)
    .where(_THIS)
    .values(tokens=bindparam("tokens"), updated_at=bindparam("updated_at"))
)


class BudgetStore(Repository):
    """Limits over the whole fleet, per profile."""

    @writes
    def share(
        self, tx: Transaction, profile: str, holder: str, busy: int, ceiling: int, ttl: float
    ) -> int:
        """How many uploads this holder may have in flight now."""
        others = [Share(o.holder, o.share, o.busy) for o in _live_others(tx, profile, holder)]
        mine = _slot(tx, profile, holder)
        now = Share(holder, 0 if mine is None else mine.share, busy)
        share = shares.fair_share(others, now, ceiling)
        values = {"share": share, "busy": busy, "until": tx.after(ttl)}
        if mine is None:
            tx.run(slots.insert(), {"profile": profile, "holder": holder, **values})
        else:
            tx.run(_KEEP, {"of": profile, "by": holder, **values})
        return share

    @writes
    def give_up_share(self, tx: Transaction, profile: str, holder: str) -> None:
        """The holder has no upload in flight any more."""
        tx.run(_GIVE_UP, {"of": profile, "by": holder})

    @writes
    def take(
        self, tx: Transaction, profile: str, channel: Channel, rate: float, want: int
    ) -> tuple[int, float]:
        """Take up to `want` calls from a bucket of `rate` calls a second."""
        row = _locked_bucket(tx, profile, channel, rate)
        taken = shares.take(row.tokens, tx.since(row.updated_at), rate, want)
        _refill(tx, row, taken.tokens)
        return taken.granted, taken.wait


# --- shares --------------------------------------------------------------------------------------


def lock_budget(tx: Transaction, profile: str) -> None:
    """Be alone with what is dealt out for a profile, until the transaction's end."""
    # The lock first: to insert what is there would share it, and who shares it can't be alone.
    if tx.run(_LOCK_BUDGET, {"of": profile}).one_or_none() is None:
        inserted(tx, budgets, {"profile": profile})
        tx.run(_LOCK_BUDGET, {"of": profile})


def _live_others(tx: Transaction, profile: str, holder: str) -> Sequence[Row[Any]]:
    """The other holders that were heard of lately, with the profile's budget locked."""
    lock_budget(tx, profile)
    tx.run(_FORGET, {"of": profile, "now": tx.now})
    return tx.run(_OTHERS, {"of": profile, "by": holder}).all()


def _slot(tx: Transaction, profile: str, holder: str) -> Row[Any] | None:
    return tx.run(_SLOT, {"of": profile, "by": holder}).one_or_none()


# --- buckets -------------------------------------------------------------------------------------


def _locked_bucket(tx: Transaction, profile: str, channel: Channel, rate: float) -> Row[Any]:
    this = {"of": profile, "by": channel}
    row = tx.run(_LOCK_BUCKET, this).one_or_none()  # the lock first, as above
    if row is not None:
        return row
    full = {"tokens": shares.burst(rate), "updated_at": _LONG_AGO}
    inserted(tx, buckets, {"profile": profile, "channel": channel, **full})
    return tx.run(_LOCK_BUCKET, this).one()


def _refill(tx: Transaction, row: Row[Any], tokens: float) -> None:
    # The clock was read after the lock was ours; should it step back, no time counts twice.
    this = {"of": row.profile, "by": row.channel}
    tx.run(_REFILL, {**this, "tokens": tokens, "updated_at": max(tx.now, row.updated_at)})
