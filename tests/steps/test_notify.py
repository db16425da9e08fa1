from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import Events
from worker.core.model.fleet import Notification
from worker.core.model.ids import BatchId
from worker.errors import (
    GiveUp,
    IngestError,
    ServiceBusy,
    ServiceFault,
    ServiceUnreachable,
    StoreUnavailable,
)
from worker.steps.notify import LONGEST_WAIT, MAX_ATTEMPTS, deliver, retry_wait

pytestmark = pytest.mark.anyio

BATCH = BatchId(UUID(int=7))
PAYLOAD = {"type": "batch.finished", "data": {"external_key": "été"}}


class Outbox:
    """The outbox in memory: what was claimed, and what was said of each notification."""

    def __init__(self, *due: Notification) -> None:
        self.due = list(due)
        self.delivered: list[int] = []
        self.later: dict[int, tuple[float | None, str]] = {}
        self.away = False

    def claim_notifications(self, limit: int, lease: float) -> list[Notification]:
        taken, self.due = self.due[:limit], self.due[limit:]
        return taken

    def notified(self, notification: int) -> None:
        if self.away:
            raise StoreUnavailable("restarting")
        self.delivered.append(notification)

    def notify_later(self, notification: int, wait: float | None, error: str) -> None:
        self.later[notification] = (wait, error)

    def replay(self, batch: BatchId | None = None) -> int:
        raise NotImplementedError


class Webhooks:
    def __init__(self, fail: Callable[[str], object] = len) -> None:
        self.fail = fail
        self.sent: list[tuple[str, str, bytes]] = []

    async def post(self, url: str, message_id: str, body: bytes) -> None:
        self.fail(url)
        self.sent.append((url, message_id, body))


class Tasks:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.sent: list[tuple[str, str | None, dict[str, Any]]] = []

    def __call__(self, name: str, queue: str | None, payload: dict[str, Any]) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((name, queue, payload))


def message(number: int, attempts: int = 0, **target: str) -> Notification:
    return Notification(number, BATCH, target, PAYLOAD, attempts, f"msg_{number}")


def raises(error: Exception) -> Callable[[str], object]:
    def fail(url: str) -> None:
        raise error

    return fail


async def test_a_task_gets_the_payload_in_the_queue_that_was_named() -> None:
    outbox, tasks = Outbox(message(1, task="done", queue="reports"), message(2, task="d")), Tasks()
    assert await deliver(outbox, Webhooks(), tasks, Events()) == 2
    assert sorted(tasks.sent, key=str) == [("d", None, PAYLOAD), ("done", "reports", PAYLOAD)]
    assert sorted(outbox.delivered) == [1, 2]
    assert outbox.later == {}


async def test_a_webhook_gets_the_payload_as_json_under_the_messages_id() -> None:
    outbox, webhooks = Outbox(message(3, url="https://hooks.example/")), Webhooks()
    await deliver(outbox, webhooks, Tasks(), Events())
    ((url, message_id, body),) = webhooks.sent
    assert (url, message_id) == ("https://hooks.example/", "msg_3")
    assert json.loads(body) == PAYLOAD
    assert outbox.delivered == [3]


async def test_an_empty_outbox_is_no_work() -> None:
    assert await deliver(Outbox(), Webhooks(), Tasks(), Events()) == 0


@pytest.mark.parametrize("error", [ServiceFault("500"), ServiceUnreachable("away"), KeyError("x")])
async def test_a_failure_waits_and_holds_up_nobody(error: Exception) -> None:
    bad, good = message(1, url="https://bad.example/"), message(2, task="t")
    outbox, tasks, events = Outbox(bad, good), Tasks(), Events()
    await deliver(outbox, Webhooks(raises(error)), tasks, events)
    wait, _ = outbox.later[1]
    assert wait is not None
    assert wait > 0
    assert outbox.delivered == [2]
    assert sorted(events.names) == ["notification_failed", "notification_sent"]


async def test_a_broker_that_is_away_is_tried_again() -> None:
    outbox = Outbox(message(1, task="t"))
    await deliver(outbox, Webhooks(), Tasks(ServiceUnreachable("no broker")), Events())
    wait, words = outbox.later[1]
    assert wait is not None
    assert "no broker" in words


async def test_a_database_that_is_away_leaves_the_message_to_its_lease() -> None:
    outbox, events = Outbox(message(1, task="t"), message(2, task="t")), Events()
    outbox.away = True
    assert await deliver(outbox, Webhooks(), Tasks(), events) == 2
    assert events.names == ["store_unavailable", "store_unavailable"]
    assert outbox.later == {}


async def test_a_permanent_answer_is_a_dead_letter_at_once() -> None:
    outbox, events = Outbox(message(1, url="https://x.example/")), Events()
    await deliver(outbox, Webhooks(raises(GiveUp("410", code="webhook_gone"))), Tasks(), events)
    assert outbox.later == {1: (None, "webhook_gone: 410")}
    assert events.names == ["notification_dead"]


async def test_the_last_attempt_ends_as_a_dead_letter() -> None:
    late = message(1, attempts=MAX_ATTEMPTS - 1, url="https://x.example/")
    outbox = Outbox(late)
    await deliver(outbox, Webhooks(raises(ServiceFault("500"))), Tasks(), Events())
    assert outbox.later == {1: (None, "service_fault: 500")}


def test_the_waits_grow_and_span_most_of_a_day() -> None:
    waits = [retry_wait(n, ServiceFault("x")) or 0.0 for n in range(1, MAX_ATTEMPTS)]
    assert 5 <= waits[0] <= 10
    assert all(later >= sooner for sooner, later in pairwise(waits))
    assert 12 * 3600 < sum(waits) < 24 * 3600


@given(st.integers(1, MAX_ATTEMPTS - 1), st.floats(0, 1e6))
def test_a_receivers_wish_is_kept_to_within_bounds(attempts: int, asked: float) -> None:
    wait = retry_wait(attempts, ServiceBusy("x", retry_after=asked))
    assert wait is not None
    assert min(asked, LONGEST_WAIT) <= wait <= LONGEST_WAIT


def test_an_unspecific_error_is_tried_again() -> None:
    assert retry_wait(1, IngestError("x")) is not None
