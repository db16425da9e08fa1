"""The recorder: few transactions, nothing lost while the store is away, each told of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
import pytest

from tests.contract.bench import PROFILE, Bench, done
from tests.fakes import NODE
from tests.steps.scene import Scene, Worker
from worker.codes import ErrorCode
from worker.core.lifecycle import FileState, Lane
from worker.core.model.files import DialogLoad, ErrorNote, Intent
from worker.core.model.ids import DialogId, UploadId
from worker.core.model.wire import DialogSession
from worker.core.verdicts import StillPolling, Verdict

pytestmark = pytest.mark.anyio


def still(file: Any) -> StillPolling:
    return StillPolling(file.id, file.token, wait=5.0, status=4)


def load_of(*files: Any) -> DialogLoad:
    session = DialogSession(DialogId(uuid4()), "1", NODE)
    intents = tuple(Intent(UploadId(uuid4()), f.id, f.token, "Audio", 5) for f in files)
    return DialogLoad(PROFILE, session, intents)


async def told(worker: Worker, *verdicts: Verdict) -> list[bool]:
    """What each caller of `verdict` hears, all of them at once."""
    heard: dict[int, bool] = {}

    async def put(number: int, verdict: Verdict) -> None:
        heard[number] = await worker.recorder.verdict(verdict)

    async with anyio.create_task_group() as tasks:
        for number, verdict in enumerate(verdicts):
            tasks.start_soon(put, number, verdict)
    return [heard[number] for number in range(len(verdicts))]


@asynccontextmanager
async def unwritten(scene: Scene):
    """A worker whose recorder does not run."""
    yield Worker(scene, "w1", "default")  # type: ignore[arg-type]


# --- batching ---


async def test_verdicts_of_one_moment_share_a_transaction(scene: Scene) -> None:
    _, files = Bench(scene.store).polling(5)
    async with scene.worker() as worker:
        assert await told(worker, *map(still, files)) == [True] * 5
        assert worker.database.writes == 1


async def test_verdicts_are_gathered_for_a_moment_and_no_longer(scene: Scene) -> None:
    _, files = Bench(scene.store).polling(2)
    async with scene.worker() as worker, anyio.create_task_group() as tasks:
        began = anyio.current_time()
        tasks.start_soon(told, worker, still(files[0]))
        await anyio.sleep(0.1)
        await told(worker, still(files[1]))
        assert worker.database.writes == 1
        assert anyio.current_time() - began < 0.5


async def test_what_an_upload_came_to_waits_for_no_others(scene: Scene) -> None:
    bench = Bench(scene.store)
    bench.batch(1)
    (file,) = bench.claim().files
    bench.send([file])
    async with scene.worker() as worker:
        began = anyio.current_time()
        assert await told(worker, bench.accepted(file)) == [True]
        assert anyio.current_time() - began < 0.05


async def test_where_an_upload_ends_the_next_begins_in_one_transaction(scene: Scene) -> None:
    bench = Bench(scene.store)
    bench.batch(2)
    first, second = bench.claim().files
    bench.send([first])
    bench.begin([second])
    async with scene.worker() as worker, anyio.create_task_group() as tasks:
        tasks.start_soon(worker.recorder.verdict, bench.accepted(first))
        assert await worker.recorder.sent(PROFILE, second.id, bench.uploads[second.id])
        assert worker.database.writes == 1
    assert scene.uploads(first.name) == ["accepted"]
    assert scene.uploads(second.name) == ["sent"]


# --- fences ---


async def test_who_lost_a_file_hears_it_and_who_did_not_is_not_disturbed(scene: Scene) -> None:
    bench = Bench(scene.store)
    _, (lost,) = bench.polling(1)
    scene.lose_leases(Lane.POLL)
    _, (held,) = bench.polling(1)
    async with scene.worker() as worker:
        assert await told(worker, done(lost), done(held)) == [False, True]


async def test_a_load_begins_when_any_of_its_files_is_held(scene: Scene) -> None:
    bench = Bench(scene.store)
    bench.batch(1)
    (lost,) = bench.claim().files
    scene.lose_leases(Lane.SUBMIT)
    bench.batch(1)
    (held,) = bench.claim().files
    async with scene.worker() as worker:
        assert not await worker.recorder.begin(load_of(lost))
        assert await worker.recorder.begin(load_of(lost, held))
    assert bench.count("uploads") == 1


async def test_nothing_is_sent_for_who_lost_the_file(scene: Scene) -> None:
    bench = Bench(scene.store)
    bench.batch(1)
    (file,) = bench.claim().files
    bench.begin([file])
    scene.lose_leases(Lane.SUBMIT)
    async with scene.worker() as worker:
        assert not await worker.recorder.sent(PROFILE, file.id, bench.uploads[file.id])
    assert scene.uploads(file.name) == ["intent"]


async def test_files_are_given_back_each_with_its_reason(scene: Scene) -> None:
    bench = Bench(scene.store)
    batch = bench.batch(3)
    claimed = bench.claim().files
    reasons = [ErrorNote(ErrorCode.THROTTLED, "busy"), None, ErrorNote(ErrorCode.DRAINED, "ends")]
    async with scene.worker() as worker, anyio.create_task_group() as tasks:
        for file, reason in zip(claimed, reasons, strict=True):
            tasks.start_soon(worker.recorder.hand_back, file, reason)
    assert bench.store.status(batch).counts == {FileState.QUEUED: 3}
    stories = [bench.store.story(file.id).events[-1] for file in claimed]
    assert [(each.event, each.code) for each in stories] == [
        ("handed_back", "throttled"),
        ("handed_back", None),
        ("handed_back", "drained"),
    ]


# --- the store is away ---


async def test_verdicts_wait_for_a_store_that_is_away(scene: Scene) -> None:
    _, files = Bench(scene.store).polling(2)
    async with scene.worker() as worker:
        worker.database.away = 6
        assert await told(worker, *map(done, files)) == [True, True]
    assert set(scene.states().values()) == {FileState.SUCCEEDED}


async def test_a_verdict_whose_commit_was_not_confirmed_is_written_once(scene: Scene) -> None:
    _, (file,) = Bench(scene.store).polling(1)
    async with scene.worker() as worker:
        worker.database.lost = 2
        assert await told(worker, done(file)) == [True]
    assert scene.story(file.name).count("succeeded") == 1


async def test_an_upload_whose_sent_was_not_confirmed_may_still_go_out(scene: Scene) -> None:
    bench = Bench(scene.store)
    bench.batch(1)
    (file,) = bench.claim().files
    bench.begin([file])
    async with scene.worker() as worker:
        worker.database.lost = 1
        assert await worker.recorder.sent(PROFILE, file.id, bench.uploads[file.id])
    assert scene.uploads(file.name) == ["sent"]


async def test_a_load_whose_beginning_was_not_confirmed_stands_once_in_the_ledger(
    scene: Scene,
) -> None:
    bench = Bench(scene.store)
    bench.batch(1)
    (file,) = bench.claim().files
    async with scene.worker() as worker:
        worker.database.lost = 1
        assert await worker.recorder.begin(load_of(file))
    assert scene.uploads(file.name) == ["intent"]
    assert bench.count("dialogs") == 1


# --- the end ---


async def test_a_flush_waits_until_everything_is_written(scene: Scene) -> None:
    _, files = Bench(scene.store).polling(3)
    async with scene.worker() as worker, anyio.create_task_group() as tasks:
        for file in files:
            tasks.start_soon(worker.recorder.verdict, done(file))
        await anyio.sleep(0.01)
        assert FileState.SUCCEEDED not in scene.states().values()
        await worker.recorder.flush()
        assert set(scene.states().values()) == {FileState.SUCCEEDED}


async def test_a_flush_gives_up_on_a_store_that_stays_away(scene: Scene) -> None:
    _, (file,) = Bench(scene.store).polling(1)
    async with scene.worker() as worker, anyio.create_task_group() as tasks:
        worker.database.away = 1000
        tasks.start_soon(worker.recorder.verdict, done(file))
        await anyio.sleep(0.01)
        began = anyio.current_time()
        await worker.recorder.flush(within=3.0)
        assert anyio.current_time() - began == pytest.approx(3.0, abs=0.1)
        worker.database.away = 0
    assert scene.states() == {file.name: FileState.SUCCEEDED}


async def test_a_flush_of_nothing_is_no_wait(scene: Scene) -> None:
    async with unwritten(scene) as worker:
        began = anyio.current_time()
        await worker.recorder.flush()
        assert anyio.current_time() - began < 0.01


async def test_a_verdict_that_the_table_forbids_harms_only_itself(scene: Scene) -> None:
    bench = Bench(scene.store)
    bench.batch(1)
    (queued,) = bench.claim().files  # it can't succeed before it was polled
    _, (polled,) = bench.polling(1)
    async with scene.worker() as worker, anyio.create_task_group() as tasks:

        async def wrong() -> None:
            with pytest.raises(RuntimeError, match="can't become"):
                await worker.recorder.verdict(done(queued))

        tasks.start_soon(wrong)
        assert await worker.recorder.verdict(done(polled))
    assert bench.store.story(queued.id).result.state is FileState.SUBMITTING
