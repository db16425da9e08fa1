"""Deliver the outbox: the notification that a batch asked for, as a task or as a webhook.

Delivery is at least once: who dies between sending and recording sends again, with the same
message id.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
from anyio import to_thread
from tenacity import wait_exponential, wait_random

from worker.codes import ErrorCode
from worker.core.model.fleet import Notification
from worker.core.pacing import after
from worker.errors import GiveUp, IngestError, ServiceBusy, StoreUnavailable
from worker.ports.broker import Webhooks
from worker.ports.store import Outbox
from worker.ports.telemetry import Telemetry

MAX_ATTEMPTS = 10
"""Attempts before a notification is a dead letter: with the waits below, most of a day."""

LONGEST_WAIT = 6 * 3600.0
"""Seconds between two attempts at most, also when a receiver asks for more."""

LEASE = 120.0
"""Seconds that a claim holds: longer than any delivery takes."""

_backoff = wait_exponential(multiplier=5, exp_base=4, max=LONGEST_WAIT) + wait_random(0, 5)

SendTask = Callable[[str, str | None, dict[str, Any]], None]
"""`ports.broker.Waker.send_notification`."""


def retry_wait(attempts: int, error: IngestError) -> float | None:
    """Seconds until the next attempt after so many that failed; None to give up.

    5 s at first, four times as long each time, six hours at most; never before the moment that
    the receiver named.
    """
    if isinstance(error, GiveUp) or attempts >= MAX_ATTEMPTS:
        return None
    asked = error.retry_after if isinstance(error, ServiceBusy) else None
    return min(max(after(_backoff, attempts), asked or 0.0), LONGEST_WAIT)


async def deliver(
    store: Outbox,
    webhooks: Webhooks,
    send_task: SendTask,
    telemetry: Telemetry,
    *,
    limit: int = 50,
) -> int:
    """Deliver what is due, all at once; returns how many notifications were taken in hand."""
    due = await to_thread.run_sync(store.claim_notifications, limit, LEASE)
    courier = _Courier(store, webhooks, send_task, telemetry)
    async with anyio.create_task_group() as tasks:
        for notification in due:
            tasks.start_soon(courier.deliver, notification)
    return len(due)


class _Courier:
    """Sends one notification and records what came of it."""

    def __init__(
        self, store: Outbox, webhooks: Webhooks, send_task: SendTask, telemetry: Telemetry
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._send_task = send_task
        self._telemetry = telemetry

    async def deliver(self, notification: Notification) -> None:
        try:
            await self._attempt(notification)
        except StoreUnavailable:  # when the lease is over it is sent again, under the same id
            self._telemetry.event("store_unavailable", batch=str(notification.batch_id))

    async def _attempt(self, notification: Notification) -> None:
        try:
            await self._send(notification)
        except IngestError as error:
            await self._failed(notification, error)
        except Exception as error:  # noqa: BLE001 - one message must not hold up the others
            await self._failed(
                notification, IngestError(type(error).__name__, code=ErrorCode.UNEXPECTED)
            )
        else:
            await to_thread.run_sync(self._store.notified, notification.id)
            self._telemetry.event("notification_sent", batch=str(notification.batch_id))

    async def _send(self, notification: Notification) -> None:
        if notification.fault is not None:
            raise GiveUp(notification.fault, code=ErrorCode.NOTIFY_UNREADABLE)
        target, payload = notification.target, notification.payload
        if "url" in target:
            body = json.dumps(payload, separators=(",", ":")).encode()
            await self._webhooks.post(target["url"], notification.message_id, body)
        else:
            await to_thread.run_sync(self._send_task, target["task"], target.get("queue"), payload)

    async def _failed(self, notification: Notification, error: IngestError) -> None:
        attempts = notification.attempts + 1
        wait = retry_wait(attempts, error)
        await to_thread.run_sync(
            self._store.notify_later, notification.id, wait, f"{error.code}: {error.message}"
        )
        self._telemetry.event(
            "notification_failed" if wait is not None else "notification_dead",
            batch=str(notification.batch_id),
            attempt=attempts,
            code=error.code,
            message=error.message,
            wait=wait,
        )
