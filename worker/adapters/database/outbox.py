"""Notifications that wait for delivery."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row, select, update

from worker.adapters.database.rows import among
from worker.adapters.database.tables import MESSAGE_LIMIT, outbox
from worker.adapters.database.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.types import clean
from worker.core.model import BatchId, Notification


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
        due = select(outbox.c.id).where(outbox.c.next_at <= tx.now).limit(1)
        return tx.run(due).first() is not None

    @writes
    def notified(self, tx: Transaction, notification: int) -> None:
        """It was delivered."""
        _change(tx, notification, delivered_at=tx.now, next_at=None, last_error=None)

    @writes
    def notify_later(
        self, tx: Transaction, notification: int, wait: float | None, error: str
    ) -> None:
        """It was not delivered: try again after `wait` seconds, or never (dead letter)."""
        words = clean(error, MESSAGE_LIMIT)
        if wait is None:
            _change(tx, notification, dead_at=tx.now, next_at=None, last_error=words)
        else:
            _change(tx, notification, next_at=tx.after(wait), last_error=words)

    @writes
    def replay(self, tx: Transaction, batch: BatchId | None = None) -> int:
        """Make dead letters due again, of one batch or all; returns how many."""
        dead = update(outbox).where(outbox.c.dead_at.is_not(None))
        if batch is not None:
            dead = dead.where(outbox.c.batch_id == batch)
        return tx.run(dead.values(dead_at=None, attempts=0, next_at=tx.now)).rowcount


def _change(tx: Transaction, notification: int, **values: Any) -> None:
    """Count the attempt and write how it went, unless an earlier one was delivered already."""
    this = (outbox.c.id == notification, outbox.c.delivered_at.is_(None))
    tx.run(update(outbox).where(*this).values(attempts=outbox.c.attempts + 1, **values))


def _notification(row: Row[Any]) -> Notification:
    return Notification(
        id=row.id,
        batch_id=BatchId(row.batch_id),
        target=json.loads(row.target),
        payload=json.loads(row.payload),
        attempts=row.attempts,
        message_id=row.message_id,
    )
