"""Reaching others: wake-ups and notifications through the broker, and webhooks."""

from __future__ import annotations

from typing import Any, Protocol

from worker.core.lifecycle import Lane
from worker.core.model.ids import Crew


class Waker(Protocol):
    """Reaches others through the broker; the database holds the work itself."""

    def wake(self, profile: str, crew: Crew, lane: Lane) -> None:
        """Send one wake-up, best effort: losing it costs at most a sweep's interval."""
        ...

    def wake_notify(self) -> None:
        """Say that the outbox holds something, as little reliably."""
        ...

    def send_notification(self, task: str, queue: str | None, payload: dict[str, Any]) -> None:
        """Send the task of this name with the payload as its one argument.

        Raises:
            ServiceUnreachable: the broker is away.
        """
        ...


class Webhooks(Protocol):
    """Posts signed messages."""

    async def post(self, url: str, message_id: str, body: bytes) -> None:
        """Deliver one message.

        Raises:
            GiveUp: it can never be delivered.
            TryLater: it was not delivered this time (`ServiceBusy`: with a wish how long to wait).
        """
        ...
