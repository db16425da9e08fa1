"""Limits over the whole fleet: shares of the uploads in flight, and token buckets of calls."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, and_, bindparam, delete, select, update

from worker.adapters.database.engine.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.engine.types import utcnow
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
_SLOTS = select(slots, utcnow().label("now")).where(_OF_PROFILE)
_MINE = and_(_OF_PROFILE, slots.c.holder == bindparam("by"))
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

    def share(self, profile: str, holder: str, busy: int, ceiling: int, ttl: float) -> int:
        """How many uploads this holder may have in flight now."""
        asked = (profile, holder, busy, ceiling, ttl)
        kept = self._kept_share(*asked)
        return self._take_share(*asked) if kept is None else kept

    @reads
    def _kept_share(
        self, tx: Transaction, profile: str, holder: str, busy: int, ceiling: int, ttl: float
    ) -> int | None:
        """The share, if it is what it was and others know all about it; else it is to be taken."""
        mine, others, silent = _holders(tx, profile, holder)
        if mine is None or silent:
            return None
        known = Share(holder, mine.share, mine.busy)
        share = shares.fair_share(others, replace(known, busy=busy), ceiling)
        fits = shares.still_fits(known, busy, share, tx.until(mine.until), ttl)
        return share if fits else None

    @writes
    def _take_share(
        self, tx: Transaction, profile: str, holder: str, busy: int, ceiling: int, ttl: float
    ) -> int:
        lock_budget(tx, profile)
        mine, others, silent = _holders(tx, profile, holder)
        if silent:
            tx.run(_FORGET, {"of": profile, "now": tx.now})
        share = shares.fair_share(
            others, Share(holder, 0 if mine is None else mine.share, busy), ceiling
        )
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


def _holders(
    tx: Transaction, profile: str, holder: str
) -> tuple[Row[Any] | None, list[Share], bool]:
    """This holder's row, the others that were heard of lately, and whether any row is outdated."""
    rows = tx.run(_SLOTS, {"of": profile}).all()
    if rows:
        tx.looked_at(rows[0].now)
    live = [row for row in rows if row.until > tx.now]
    mine = next((row for row in live if row.holder == holder), None)
    others = [Share(row.holder, row.share, row.busy) for row in live if row.holder != holder]
    return mine, others, len(live) < len(rows)


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
