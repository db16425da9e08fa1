"""Notifications that wait for delivery."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row, bindparam, or_, select, update

from worker.adapters.database.engine.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.engine.types import clean
from worker.adapters.database.rows import among
from worker.adapters.database.tables import MESSAGE_LIMIT, outbox
from worker.core.model.fleet import Notification
from worker.core.model.ids import BatchId
from worker.core.order import notify_fault
from worker.core.seen import NotificationEntry

_ANY_DUE = select(outbox.c.id).where(outbox.c.next_at <= bindparam("now")).limit(1)


class OutboxStore(Repository):
    """The outbox."""

    @writes
    def claim_notifications(self, tx: Transaction, limit: int, lease: float) -> list[Notification]:
        """Take due notifications under a lease: nobody else sees them until it ends."""
        due = (
            select(outbox)
            .where(outbox.c.next_at <= tx.now)
            .order_by(outbox.c.next_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = tx.run(due).all()
        if rows:
            held = update(outbox).where(among(tx.kind, outbox.c.id, "ids"))
            tx.run(held.values(next_at=tx.after(lease)), {"ids": [row.id for row in rows]})
        return [_notification(row) for row in rows]

    @reads
    def notifications_due(self, tx: Transaction) -> bool:
        """Whether there is anything to claim now."""
        return tx.run(_ANY_DUE, {"now": tx.now}).first() is not None

    @writes
    def notified(self, tx: Transaction, notification: int) -> None:
        """Mark it delivered; repeating this does no harm."""
        _change(tx, notification, delivered_at=tx.now, next_at=None, last_error=None)

    @writes
    def notify_later(
        self, tx: Transaction, notification: int, wait: float | None, error: str
    ) -> None:
        """Mark it failed: due again after `wait` seconds, or never (dead letter)."""
        words = clean(error, MESSAGE_LIMIT)
        if wait is None:
            _change(tx, notification, dead_at=tx.now, next_at=None, last_error=words)
        else:
            _change(tx, notification, next_at=tx.after(wait), last_error=words)

    @reads
    def undelivered(self, tx: Transaction, limit: int = 100) -> list[NotificationEntry]:
        """What waits and what is dead, the newest first."""
        open_ones = or_(outbox.c.next_at.is_not(None), outbox.c.dead_at.is_not(None))
        chosen = select(outbox).where(open_ones).order_by(outbox.c.id.desc()).limit(limit)
        return [_entry(tx, row) for row in tx.run(chosen)]

    @writes
    def replay(self, tx: Transaction, batch: BatchId | None = None) -> int:
        """Make dead letters due again, of one batch or all; returns how many."""
        dead = update(outbox).where(outbox.c.dead_at.is_not(None))
        if batch is not None:
            dead = dead.where(outbox.c.batch_id == batch)
        return tx.run(dead.values(dead_at=None, attempts=0, next_at=tx.now)).rowcount


def _change(tx: Transaction, notification: int, **values: Any) -> None:
    """Count the attempt and write how it went, unless an earlier one was delivered already.

    Where a lease ran out two have tried; the later word counts, and nothing waits, or was
    delivered, and is dead as well.
    """
    this = (outbox.c.id == notification, outbox.c.delivered_at.is_(None))
    changes = {"attempts": outbox.c.attempts + 1, "dead_at": None, **values}
    tx.run(update(outbox).where(*this).values(changes))


def _entry(tx: Transaction, row: Row[Any]) -> NotificationEntry:
    return NotificationEntry(
        id=row.id,
        batch_id=BatchId(row.batch_id),
        target=_object(row.target) or {},
        attempts=row.attempts,
        created_at=row.created_at,
        due_in=None if row.next_at is None else tx.until(row.next_at),
        dead_at=row.dead_at,
        last_error=row.last_error,
    )


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object of a row; None for a broken one, which is nobody else's concern."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _notification(row: Row[Any]) -> Notification:
    target, payload = _object(row.target), _object(row.payload)
    unreadable = "its row can't be read" if target is None or payload is None else None
    return Notification(
        id=row.id,
        batch_id=BatchId(row.batch_id),
        target=target or {},
        payload=payload or {},
        attempts=row.attempts,
        message_id=row.message_id,
        fault=unreadable or notify_fault(target),
    )
