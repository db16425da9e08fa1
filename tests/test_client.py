"""What upstream Python jobs hand in, as it is sent; the broker here is in memory."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Celery

from tests.contract.bench import CREW, PROFILE, Bench, done
from worker import client
from worker.adapters.database import open_store
from worker.client import batch_id_for, submit_batch
from worker.core.lifecycle import Lane
from worker.core.model.batches import NewBatch
from worker.core.model.ids import BatchId
from worker.core.order import BatchOrder
from worker.errors import Ambiguous, UnknownBatch


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery(broker="memory://client-tests", set_as_current=False) as app:
        yield app


def sent(app: Celery) -> list[Any]:
    """The messages on the default queue, taken off it."""
    found = []
    with app.connection() as connection:
        queue = connection.SimpleQueue("celery")
        while queue.qsize():
            message = queue.get()
            message.ack()
            found.append(message)
        queue.close()
    return found


def orders(app: Celery) -> list[BatchOrder]:
    return [BatchOrder.of_message(*message.payload[:2]) for message in sent(app)]


def test_what_is_sent_is_what_workers_take(app: Celery):
    batch = submit_batch(app, ("/in/a.wav",), inputs={"a": 1}, notify={"task": "t", "queue": "q"})
    (message,) = sent(app)
    order = BatchOrder.of_message(*message.payload[:2])
    assert (order.files, order.inputs) == (["/in/a.wav"], '{"a": 1}')
    assert UUID(message.headers["id"]) == batch


def test_without_files_there_is_one_message(app: Celery):
    submit_batch(app, [], external_key="empty")
    assert [order.files for order in orders(app)] == [[]]


def test_an_empty_key_is_none(app: Celery):
    batch = submit_batch(app, ["/in/a.wav"], external_key="")
    (message,) = sent(app)
    assert UUID(message.headers["id"]) == batch


def test_each_hand_in_in_parts_is_told_apart(app: Celery, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "FILES_PER_MESSAGE", 2)
    for _ in range(2):
        assert submit_batch(app, list("abc"), external_key="k") == batch_id_for("default", "k")
    first, second, third, fourth = orders(app)
    assert (first.part, first.parts, second.part) == (1, 2, 2)
    assert first.hand_in == second.hand_in
    assert third.hand_in == fourth.hand_in != first.hand_in


@pytest.mark.parametrize(
    "given",
    [
        {"files": "a.wav"},
        {"files": [5]},
        {"category": 7},
        {"profile": "default/x"},
        {"external_key": "\ud800"},
        {"inputs": {"x": float("inf")}},
        {"notify": {"tsk": "x"}},
        {"notify": {"task": "t" * 70_000}},
    ],
)
def test_what_can_not_be_handed_in_is_said_here_and_not_sent(app: Celery, given: dict[str, Any]):
    (field,) = given
    with pytest.raises(ValueError, match=field) as refused:
        submit_batch(app, **{"files": ["/in/a.wav"], **given})
    assert "\n" not in str(refused.value)
    assert sent(app) == []


def test_importing_it_imports_nothing_heavy():
    heavy = ["celery", "sqlalchemy", "pydantic", "httpx2", "aiohttp", "pyarrow", "fsspec"]
    code = f"import sys, worker.client; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert found.stdout.strip() == "[]"


# --- on the database -----------------------------------------------------------------------------


@pytest.fixture
def bench(database_url: str) -> Iterator[Bench]:
    store = open_store(database_url)
    yield Bench(store)
    store.close()


def end(bench: Bench, batch: BatchId) -> None:
    """Every file of the batch succeeds, and it is stamped."""
    bench.submit()
    bench.store.record([done(file) for file in bench.claim(Lane.POLL).files])
    assert bench.store.finish([batch]) == [batch]


def test_a_finished_batch_is_waited_for_no_longer_and_read_with_types(
    bench: Bench, database_url: str
):
    batch = bench.batch(2, external_key="nightly")
    end(bench, batch)
    ended = client.wait("nightly", 0, database_url=database_url)
    assert (ended.batch_id, ended.state, ended.counts) == (batch, "finished", {"succeeded": 2})
    rows = list(client.results(batch, database_url=database_url))
    assert [row.source for row in rows] == ["/in/00000.wav", "/in/00001.wav"]
    for row in rows:
        assert isinstance(row.file_id, UUID)
        assert row.finished_at is not None
        assert row.finished_at.utcoffset() == timedelta(0)


def test_a_batch_that_nobody_has_taken_in_yet_is_waited_for(
    bench: Bench, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    batch = BatchId(uuid4())
    looks = []

    def meanwhile(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            bench.store.create_batch(NewBatch(batch, PROFILE, CREW))
            bench.store.add_files(batch, ["/in/a.wav"])
        elif len(looks) == 2:
            bench.store.seal(batch)
            end(bench, batch)

    monkeypatch.setattr(client.time, "sleep", meanwhile)
    assert client.wait(batch, database_url=database_url).counts == {"succeeded": 1}
    assert len(looks) == 2


def test_who_waits_too_long_is_told_how_it_stands(bench: Bench, database_url: str):
    batch = bench.batch(3)
    with pytest.raises(TimeoutError, match="3 queued"):
        client.wait(batch, 0, database_url=database_url)
    with pytest.raises(TimeoutError, match="no batch"):
        client.wait(uuid4(), 0, database_url=database_url)


def test_cancelled_files_are_retried_when_they_are_named(bench: Bench, database_url: str):
    batch = bench.batch(2)
    assert client.cancel(batch, database_url=database_url) == 2
    assert client.wait(batch, 0, database_url=database_url).state == "cancelled"
    assert client.retry(batch, database_url=database_url) == 0
    assert client.retry(batch, only=["cancelled"], database_url=database_url) == 2
    assert client.status(batch, database_url=database_url).counts == {"queued": 2}
    with pytest.raises(ValueError, match="lost"):
        client.retry(batch, only=["lost"], database_url=database_url)


def test_a_batch_that_is_not_there_is_said_before_the_first_row(bench: Bench, database_url: str):
    with pytest.raises(UnknownBatch):
        client.results("nothing", database_url=database_url)
    for _ in range(2):
        bench.batch(external_key="twice", profile=f"p{uuid4().hex[:6]}")
    with pytest.raises(Ambiguous):
        client.status("twice", database_url=database_url)
