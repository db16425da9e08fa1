"""Schedules, the outbox and after rules on the real store and real folders."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import anyio
import pytest

from tests.fakes import Events
from worker.adapters.database import SqlStore, open_store
from worker.adapters.database.engine import migrate
from worker.adapters.files.listing import FileListing
from worker.adapters.files.sources import FileSources
from worker.adapters.files.takeaway import LocalTakeAway
from worker.core.lifecycle import FileState, Lane
from worker.core.model.batches import BatchOptions, NewBatch
from worker.core.model.ids import BatchId, UploadId, fleet
from worker.core.model.wire import Contents
from worker.core.schedule import Schedule, last_due_before
from worker.core.verdicts import Accepted, Ended, Traits
from worker.steps.notify import MAX_ATTEMPTS, deliver
from worker.steps.register import register
from worker.steps.schedule import ScheduleDeps, fire_due
from worker.steps.stopping import Stopping
from worker.steps.takeaway import tidy

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    url = f"sqlite:///{tmp_path}/ingest.db"
    migrate.upgrade(url)
    made = open_store(url)
    yield made
    made.close()


class Intake:
    """Registers batches in the store as the workers do, without waking anybody."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.batches: list[BatchId] = []

    def __call__(
        self,
        *,
        profile: str,
        external_key: str,
        category: str | None,
        after: str,
        sources: Sequence[str],
    ) -> tuple[BatchId, int]:
        batch = NewBatch(
            id=BatchId(uuid5(NAMESPACE_URL, external_key)),
            profile=profile,
            crew=fleet(profile),
            external_key=external_key,
            options=BatchOptions(category=category),
            notify={"task": "done"},
            after=after,
        )
        self.batches.append(batch.id)
        return batch.id, register(self.store, batch, sources)


class Scene:
    def __init__(self, store: SqlStore, base: Path) -> None:
        self.store, self.events = store, Events()
        self.folder, self.done = base / "in", base / "done"
        self.folder.mkdir()
        self.intake = Intake(store)
        self.world = ScheduleDeps(
            store, FileListing([]), FileSources([], 1_000_000), self.intake, self.events, Stopping()
        )
        self.schedule = Schedule(
            name="calls",
            cron="0 0 1 1 *",  # a due time that no test comes across
            paths=(str(self.folder),),
            glob="*.wav",
            stable_for=0.0,
            after=f"move:{self.done}",
        )

    def missed(self, minutes: int) -> None:
        """The schedule was fired last so many minutes ago."""
        due = last_due_before(self.schedule, self.store.now())
        assert self.store.fire("calls", due - minutes * 60)

    def finish(self, state: FileState) -> None:
        """The workers bring every file to this end."""
        claim = self.store.claim("default", fleet("default"), Lane.SUBMIT, 10, 60.0)
        for file in claim.files:
            data = Path(file.source).read_bytes()
            sent = Traits("Any", len(data), hashlib.sha256(data).hexdigest())
            upload = UploadId(uuid4())
            verdict = Accepted(file.id, file.token, upload, "7", sent, 0.0, 60.0)
            assert self.store.record([verdict])
        claim = self.store.claim("default", fleet("default"), Lane.POLL, 10, 60.0)
        contents = Contents("text", None, None)
        self.store.record([Ended(f.id, f.token, state, contents=contents) for f in claim.files])
        self.store.finish({file.batch_id for file in claim.files})


@pytest.fixture
def scene(store: SqlStore, tmp_path: Path) -> Scene:
    return Scene(store, tmp_path)


def sources(scene: Scene) -> list[str]:
    return [Path(r.source).name for b in scene.intake.batches for r in scene.store.results(b)]


async def test_a_first_tick_only_starts_the_schedule(scene: Scene) -> None:
    (scene.folder / "a.wav").write_bytes(b"1")
    assert await fire_due(scene.world, [scene.schedule], "one") == []
    assert scene.store.last_due("calls") is not None
    assert scene.intake.batches == []


async def test_new_files_are_handed_in_once_and_changed_ones_again(scene: Scene) -> None:
    scene.missed(5)
    (scene.folder / "a.wav").write_bytes(b"1")
    (scene.folder / "a.txt").write_bytes(b"1")
    assert await fire_due(scene.world, [scene.schedule], "one") == ["calls"]
    assert sources(scene) == ["a.wav"]
    again = scene.schedule.model_copy(update={"name": "again"})
    due = last_due_before(again, scene.store.now())
    seen = FileListing([]).look([str(scene.folder / "a.wav")])
    assert scene.store.unseen("calls", seen) == []
    assert scene.store.fire("again", due - 60)
    assert await fire_due(scene.world, [again], "two") == ["again"]  # has a memory of its own


async def test_many_ticks_at_once_make_one_batch(scene: Scene) -> None:
    scene.missed(5)
    (scene.folder / "a.wav").write_bytes(b"1")
    fired: list[list[str]] = []

    async def tick(holder: str) -> None:
        fired.append(await fire_due(scene.world, [scene.schedule], holder))

    async with anyio.create_task_group() as tasks:
        for holder in ("one", "two", "three"):
            tasks.start_soon(tick, holder)
    assert sorted(fired) == [[], [], ["calls"]]
    assert len(set(scene.intake.batches)) == 1


async def test_after_rules_are_carried_out_on_succeeded_files_only(scene: Scene) -> None:
    scene.missed(5)
    taker = LocalTakeAway([str(scene.folder)])
    (scene.folder / "a.wav").write_bytes(b"1")
    await fire_due(scene.world, [scene.schedule], "one")
    assert await tidy(scene.store, taker, scene.events, "me", Stopping()) == 0
    scene.finish(FileState.SUCCEEDED)
    assert await tidy(scene.store, taker, scene.events, "me", Stopping()) == 1
    assert (scene.done / "a.wav").read_bytes() == b"1"
    assert not (scene.folder / "a.wav").exists()
    assert await tidy(scene.store, taker, scene.events, "me", Stopping()) == 0


async def test_a_failed_file_stays(scene: Scene) -> None:
    scene.missed(5)
    (scene.folder / "a.wav").write_bytes(b"1")
    await fire_due(scene.world, [scene.schedule], "one")
    scene.finish(FileState.FAILED)
    taker = LocalTakeAway([str(scene.folder)])
    assert await tidy(scene.store, taker, scene.events, "me", Stopping()) == 0
    assert (scene.folder / "a.wav").exists()


async def test_a_file_that_changed_after_its_upload_stays_and_its_story_says_so(
    scene: Scene,
) -> None:
    scene.missed(5)
    (scene.folder / "a.wav").write_bytes(b"1")
    await fire_due(scene.world, [scene.schedule], "one")
    scene.finish(FileState.SUCCEEDED)
    (scene.folder / "a.wav").write_bytes(b"2")
    assert (
        await tidy(scene.store, LocalTakeAway([str(scene.folder)]), scene.events, "me", Stopping())
        == 1
    )
    assert (scene.folder / "a.wav").exists()
    (result,) = scene.store.results(scene.intake.batches[0])
    assert "changed" in [event.code for event in scene.store.story(result.file_id).events]


async def test_a_finished_batch_is_announced_once(scene: Scene) -> None:
    sent: list[tuple[str, str | None, dict[str, Any]]] = []
    scene.missed(5)
    (scene.folder / "a.wav").write_bytes(b"1")
    await fire_due(scene.world, [scene.schedule], "one")
    scene.finish(FileState.SUCCEEDED)

    def send(name: str, queue: str | None, payload: dict[str, Any]) -> None:
        sent.append((name, queue, payload))

    for _ in range(2):
        await deliver(scene.store, _NoWebhooks(), send, scene.events)
    ((name, _, payload),) = sent
    assert name == "done"
    assert payload["type"] == "batch.finished"
    assert payload["data"]["batch_id"] == str(scene.intake.batches[0])
    assert payload["data"]["counts"] == {"succeeded": 1}


class _NoWebhooks:
    async def post(self, url: str, message_id: str, body: bytes) -> None:
        raise NotImplementedError


async def test_a_dead_letter_can_be_replayed(scene: Scene) -> None:
    scene.missed(5)
    (scene.folder / "a.wav").write_bytes(b"1")
    await fire_due(scene.world, [scene.schedule], "one")
    scene.finish(FileState.SUCCEEDED)

    def fail(name: str, queue: str | None, payload: dict[str, Any]) -> None:
        raise OSError

    (first,) = scene.store.claim_notifications(5, 0.0)
    for _ in range(MAX_ATTEMPTS - 1):
        scene.store.notify_later(first.id, 0.0, "away")
    assert await deliver(scene.store, _NoWebhooks(), fail, scene.events) == 1
    assert scene.events.names[-1] == "notification_dead"
    assert await deliver(scene.store, _NoWebhooks(), fail, scene.events) == 0
    assert scene.store.replay(first.batch_id) == 1
    (replayed,) = scene.store.claim_notifications(5, 60.0)
    assert replayed.message_id == first.message_id
    assert replayed.attempts == 0
