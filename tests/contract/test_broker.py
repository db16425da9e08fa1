"""The fake waker and Celery's: who is woken for what, and what a broker that is away means."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Empty
from typing import Any

import pytest
from celery import Celery

from tests.fakes import FakeWaker
from worker.adapters.broker.names import NOTIFY, POLL, SUBMIT, BrokerNames
from worker.app import COMMON, CeleryWaker
from worker.core.lifecycle import Lane
from worker.core.model.ids import Crew
from worker.errors import ServiceUnreachable
from worker.ports.broker import Waker

AWAY = "redis://127.0.0.1:1"
MEMORY = "memory://contract"
CREW = Crew("default")


class Reached:
    """A waker, and who was reached by it."""

    waker: Waker

    def woken(self) -> list[tuple[Any, ...]]:
        """What arrived, as the fake tells it."""
        raise NotImplementedError

    def lose_broker(self) -> None:
        raise NotImplementedError


class ByFake(Reached):
    def __init__(self) -> None:
        self.waker = self.fake = FakeWaker()

    def woken(self) -> list[tuple[Any, ...]]:
        return self.fake.woken

    def lose_broker(self) -> None:
        self.fake.away = True


class ByCelery(Reached):
    """On kombu's broker in memory, with the queues that the workers listen to."""

    def __init__(self, app: Celery, names: BrokerNames) -> None:
        self.waker = CeleryWaker()
        self._app = app
        self._names = names

    def woken(self) -> list[tuple[Any, ...]]:
        found = [
            each for name in (SUBMIT, POLL, NOTIFY) for each in self._in(self._names.own(name))
        ]
        return found + [(task, "reports", args[0]) for task, args, _ in self._read("reports")]

    def _in(self, queue: str) -> list[tuple[Any, ...]]:
        kinds = {"worker.notify": ("notify",)}
        return [
            kinds.get(task) or (kwargs["profile"], kwargs["crew"], task.removeprefix("worker."))
            for task, _, kwargs in self._read(queue)
        ]

    def _read(self, queue: str) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
        with self._app.connection_for_read() as connection, connection.SimpleQueue(queue) as box:
            while True:
                try:
                    message = box.get_nowait()
                except Empty:
                    return
                message.ack()
                args, kwargs, _ = message.decode()
                yield message.headers["task"], args, kwargs

    def lose_broker(self) -> None:
        # Asked once: waiting for it to come back is kombu's, and takes seconds.
        at_once = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
        self._app.conf.update(broker_write_url=AWAY, broker_transport_options=at_once)


@pytest.fixture(params=["fake", "celery", "celery in a namespace"])
def reached(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reached]:
    if request.param == "fake":
        yield ByFake()
        return
    names = BrokerNames("apart" if request.param != "celery" else "")
    with Celery("contract", broker=MEMORY, set_as_current=False) as app:
        app.conf.update({**COMMON, **names.settings(MEMORY)})
        monkeypatch.setattr("worker.app.app", app)
        by_celery = ByCelery(app, names)
        by_celery.woken()  # kombu's memory is one for all that happens in a process
        yield by_celery


def test_a_wake_up_reaches_its_lane(reached: Reached) -> None:
    reached.waker.wake("default", CREW, Lane.SUBMIT)
    reached.waker.wake("default", CREW, Lane.POLL)
    assert reached.woken() == [("default", CREW, "submit"), ("default", CREW, "poll")]


def test_who_delivers_notifications_is_woken(reached: Reached) -> None:
    reached.waker.wake_notify()
    assert reached.woken() == [("notify",)]


def test_a_notification_carries_its_payload_to_the_task_and_queue(reached: Reached) -> None:
    reached.waker.send_notification("reports.done", "reports", {"a": ["ä", 1]})
    assert reached.woken() == [("reports.done", "reports", {"a": ["ä", 1]})]


def test_a_wake_up_may_be_lost_without_a_word(reached: Reached) -> None:
    reached.lose_broker()
    reached.waker.wake("default", CREW, Lane.SUBMIT)
    reached.waker.wake_notify()


def test_a_notification_is_never_lost_without_a_word(reached: Reached) -> None:
    reached.lose_broker()
    with pytest.raises(ServiceUnreachable):
        reached.waker.send_notification("reports.done", None, {})
