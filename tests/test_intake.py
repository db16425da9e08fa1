"""Batches by message on real databases: taken in, or refused with a trace that can be found."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from tests.contract.bench import Bench
from tests.fakes import Events
from worker.adapters.database import SqlStore
from worker.client import batch_id_for
from worker.core.lifecycle import BatchState, FileState, Lane
from worker.core.model.ids import BatchId, fleet, run_crew
from worker.core.report import status_object
from worker.intake import Message, TakenIn, take_in
from worker.settings import Settings

FILES = ["/in/a.wav", "/in/b.wav"]


class Door:
    """The door of an installation with one profile and no webhooks."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.events = Events()
        self.settings = Settings.load()

    def send(self, *args: Any, task_id: str | None = None, **kwargs: Any) -> TakenIn:
        message = Message(args, kwargs, task_id or str(uuid4()))
        return take_in(message, self.settings, self.store, self.events)  # type: ignore[arg-type]

    def state(self, taken: TakenIn) -> BatchState:
        return self.store.status(taken.batch).state


@pytest.fixture
def door(store: SqlStore, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Door:
    monkeypatch.chdir(tmp_path)
    return Door(store)


def test_what_is_fine_is_taken_in_under_the_task_s_id(door: Door):
    task = str(uuid4())
    taken = door.send(FILES, task_id=task, inputs={"a": 1})
    assert taken == TakenIn(BatchId(UUID(task)), "default")
    assert door.store.status(taken.batch).counts == {FileState.QUEUED: 2}
    assert door.events.events == []


REFUSED: dict[str, dict[str, Any]] = {
    "unknown field": {"files": FILES, "extra": 1},
    "missing field": {},
    "no list": {"files": "notalist"},
    "numbers": {"files": [1, 2]},
    "one number": {"files": [*FILES, 3]},
    "half a pair": {"files": [*FILES, "/in/\ud800.wav"]},
    "half a pair for a key": {"files": FILES, "external_key": "\ud800"},
    "half a pair for a field": {"files": FILES, "\ud800": 1},
    "half a pair within": {"files": FILES, "inputs": {"a": ["\ud800"]}},
    "no truth": {"files": FILES, "force": "yes"},
    "wrong type": {"files": FILES, "category": ["x"]},
    "unknown profile": {"files": FILES, "profile": "nosuch"},
    "null profile": {"files": FILES, "profile": None},
    "long profile": {"files": FILES, "profile": "p" * 300},
    "profile with NUL": {"files": FILES, "profile": "a\x00b"},
    "another batch's id": {"files": FILES, "profile": "default/x", "external_key": "y"},
    "no object": {"files": FILES, "inputs": [1, 2]},
    "not a number": {"files": FILES, "inputs": {"x": float("nan")}},
    "no shape": {"files": FILES, "notify": {"tsk": "x"}},
    "a file": {"files": FILES, "notify": {"url": "file:///etc/passwd"}},
    "plain http": {"files": FILES, "notify": {"url": "http://example.com/"}},
    "unsigned": {"files": FILES, "notify": {"url": "https://example.com/"}},
    "long target": {"files": FILES, "notify": {"task": "t" * 70_000, "queue": "q"}},
    "parts": {"files": FILES, "external_key": "k", "part": 7, "parts": 2},
    "many parts": {"files": FILES, "external_key": "k", "part": 1, "parts": 10**15},
    "a huge number": {"files": FILES, "external_key": 10**400},
}


def test_what_is_wrong_becomes_a_batch_that_says_so(door: Door):
    for case, message in REFUSED.items():
        door.events = Events()
        taken = door.send(**message)
        assert taken.profile is None, case
        told = status_object(door.store.status(taken.batch))
        assert (told["state"], told["total"]) == ("rejected", 0), case
        assert told["reason"], case
        assert told["finished_at"], case
        assert [name for name, _ in door.events.events] == ["message_refused"], case
        assert door.events.events[0][1]["batch"] == str(taken.batch), case
        assert sum(door.events.counts.values()) == 1, case
    assert Bench(door.store).count("files") == 0


def test_a_refused_batch_is_found_under_its_key_also_a_number(door: Door):
    taken = door.send(files=FILES, external_key="nightly", category=7)
    assert taken.batch == batch_id_for("default", "nightly")
    assert door.store.status(taken.batch).external_key == "nightly"
    taken = door.send(files=FILES, external_key=20261122)
    assert taken.batch == batch_id_for("default", "20261122")


def test_a_task_id_that_is_no_uuid_has_a_batch_all_the_same(door: Door):
    for task in ("job-7", "ü" * 3000, "\ud800"):
        taken = door.send(FILES, task_id=task)
        assert door.state(taken) is BatchState.RUNNING
        assert door.send(FILES, task_id=task).batch == taken.batch


def test_a_faulty_message_leaves_a_good_batch_of_its_name_alone(door: Door):
    good = door.send(files=FILES, external_key="nightly")
    bad = door.send(files=FILES, external_key="nightly", category=7)
    assert bad.batch != good.batch
    assert (door.state(good), door.state(bad)) == (BatchState.RUNNING, BatchState.REJECTED)
    assert str(good.batch) in (door.store.status(bad.batch).reason or "")


def test_a_refused_batch_runs_when_it_is_handed_in_again_properly(door: Door):
    first = door.send(files=FILES, external_key="nightly", category=7)
    again = door.send(files=FILES, external_key="nightly", category="Audio")
    assert again.batch == first.batch
    status = door.store.status(again.batch)
    assert (status.state, status.reason, status.finished_at) == (BatchState.RUNNING, None, None)
    assert status.counts == {FileState.QUEUED: 2}
    assert (
        door.store._database.read(
            lambda tx: tx.run(text("SELECT category FROM batches")).scalar_one()
        )
        == "Audio"
    )


def test_a_redelivered_refusal_changes_nothing(door: Door):
    task = str(uuid4())
    assert door.send(files=5, task_id=task) == door.send(files=5, task_id=task)
    assert Bench(door.store).count("batches") == 1


def test_who_asked_to_be_told_is_told_of_a_refusal(door: Door):
    door.send(files=FILES, category=7, notify={"task": "upstream.done", "queue": "up"})
    (told,) = door.store.claim_notifications(10, 60)
    assert told.target == {"task": "upstream.done", "queue": "up"}
    assert told.payload["data"]["state"] == "rejected"
    assert "category" in told.payload["data"]["reason"]


def test_a_path_that_no_row_holds_is_a_file_of_its_own(door: Door):
    paths = ["/in/" + "ü" * 40_000, "/in/" + "ü" * 40_001, "/in/a.wav"]
    taken = door.send(paths)
    assert door.store.status(taken.batch).counts == {FileState.QUEUED: 3}
    assert door.send(paths, task_id=str(taken.batch)).batch == taken.batch
    assert door.store.status(taken.batch).total == 3


def test_files_of_a_cancelled_batch_end_as_cancelled_and_are_told_of(door: Door):
    notify = {"task": "upstream.done"}
    taken = door.send(files=FILES[:1], external_key="nightly", notify=notify)
    door.store.cancel(taken.batch)
    assert len(door.store.claim_notifications(10, 60)) == 1
    door.send(files=FILES, external_key="nightly", notify=notify)
    status = door.store.status(taken.batch)
    assert (status.state, status.counts) == (BatchState.CANCELLED, {FileState.CANCELLED: 2})
    assert status.finished_at is not None
    assert door.events.events == [("files_cancelled", {"batch": str(taken.batch), "files": 1})]
    (told,) = door.store.claim_notifications(10, 60)
    assert told.payload["data"]["counts"] == {"cancelled": 2}
    assert door.store.retry(taken.batch, [FileState.CANCELLED], fleet("default")) == 2
    assert len(door.store.claim("default", fleet("default"), Lane.SUBMIT, 9, 60).files) == 2


def test_files_given_to_the_fleet_under_a_run_s_key_are_the_fleet_s(door: Door):
    batch = BatchId(batch_id_for("default", "nightly"))
    bench = Bench(door.store)
    run = run_crew(batch)
    from worker.bootstrap import HandInRequest, hand_in

    request = HandInRequest(batch, external_key="nightly", embedded=True)
    hand_in(door.store, request, FILES[:1])
    door.send(files=FILES, external_key="nightly")
    assert [file.source for file in bench.claim(crew=run).files] == FILES[:1]
    assert [file.source for file in bench.claim().files] == FILES[1:]
    assert door.store.status(batch).crew == fleet("default")


def test_files_given_to_a_run_under_the_fleet_s_key_are_the_run_s(door: Door):
    taken = door.send(files=FILES[:1], external_key="nightly")
    from worker.bootstrap import HandInRequest, hand_in

    hand_in(door.store, HandInRequest(taken.batch, external_key="nightly", embedded=True), FILES)
    bench = Bench(door.store)
    assert [file.source for file in bench.claim(crew=run_crew(taken.batch)).files] == FILES[1:]


def part(door: Door, files: list[str], number: int, of: int, hand_in: UUID | None) -> TakenIn:
    more = {} if hand_in is None else {"hand_in": str(hand_in)}
    return door.send(files=files, external_key="parts", part=number, parts=of, **more)


def sealed(door: Door, taken: TakenIn) -> bool:
    return door.store.status(taken.batch).sealed


def test_a_hand_in_that_broke_off_does_not_complete_another(door: Door):
    first, second = uuid4(), uuid4()
    part(door, ["/in/1"], 1, 3, first)
    part(door, ["/in/2"], 2, 3, first)
    taken = part(door, ["/in/1", "/in/2"], 1, 2, second)
    assert not sealed(door, taken)
    part(door, ["/in/3"], 2, 2, second)
    assert sealed(door, taken)


def test_a_hand_in_in_parts_to_a_sealed_batch_opens_it_until_it_is_whole(door: Door):
    taken = door.send(files=["/in/0"], external_key="parts")
    assert sealed(door, taken)
    second = uuid4()
    part(door, ["/in/2"], 2, 2, second)
    assert not sealed(door, taken)
    part(door, ["/in/1"], 1, 2, second)
    assert sealed(door, taken)
    part(door, ["/in/1"], 1, 2, second)  # delivered once more
    assert sealed(door, taken)


def test_parts_of_a_sender_that_names_no_hand_in_are_counted_by_their_number(door: Door):
    part(door, ["/in/1"], 1, 3, None)
    taken = part(door, ["/in/1"], 1, 2, None)
    assert not sealed(door, taken)
    part(door, ["/in/2"], 2, 2, None)
    assert sealed(door, taken)


def test_a_value_is_refused_and_never_cut(store: SqlStore):
    from worker.core.model.batches import NewBatch
    from worker.errors import StoreFault

    if store._database.kind == "sqlite":
        pytest.skip("SQLite's columns have no width")
    with pytest.raises(StoreFault):
        store.create_batch(NewBatch(BatchId(uuid4()), "p" * 300, fleet("x")))
    with pytest.raises(StoreFault):
        store.create_batch(NewBatch(BatchId(uuid4()), None, fleet("x")))  # type: ignore[arg-type]
    assert store.batches() == []


def test_a_broken_row_in_the_outbox_is_a_dead_letter_and_holds_nobody_up(door: Door):
    for _ in range(2):
        door.store.cancel(door.send(FILES, notify={"task": "upstream.done"}).batch)
    door.store._database.write(
        lambda tx: (
            tx.run(
                text(
                    "UPDATE outbox SET target = :cut WHERE id = (SELECT n FROM (SELECT min(id) AS n FROM outbox) AS x)"
                ),
                {"cut": json.dumps({"task": "t"})[:-3]},
            )
            and None
        )
    )
    broken, good = sorted(door.store.claim_notifications(10, 60), key=lambda each: each.id)
    assert good.fault is None
    assert broken.fault


def test_a_secret_in_an_address_is_never_stored_and_a_name_never_has_a_query(door: Door):
    signed = "https://h/a%20b.wav?X-Amz-Signature=abc/d.pdf"
    taken = door.send(["http://usr:hunter2@h/x.txt", signed])
    rows = Bench(door.store).rows("SELECT source, name FROM files ORDER BY turn")
    assert [row.name for row in rows] == ["x.txt", "a b.wav"]
    assert [row.source for row in rows] == [
        "http://***@h/x.txt",
        "https://h/a%20b.wav?X-Amz-Signature=***",
    ]
    assert door.store.status(taken.batch).total == 2
