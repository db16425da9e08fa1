"""What a file's row tells when its uploads failed, and how often the service was asked for it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import anyio
import pytest

from tests.contract.bench import CREW, PROFILE, Bench
from tests.fakes import failed, parsed
from tests.steps.scene import Scene
from worker.core.lifecycle import FileState, Lane
from worker.core.seen import Narrow

pytestmark = pytest.mark.anyio

DIGEST = hashlib.sha256(b"/in/a.wav").hexdigest()  # a fake source holds its own name


def known(scene: Scene) -> tuple[str | None, int | None, str | None]:
    row = scene.row("a.wav")
    return row.category, row.size, row.sha256


@pytest.mark.parametrize(
    "trouble",
    ["refused", "rejected", "lost", "unreachable", "throttled", "overloaded", "moved"],
)
async def test_a_failed_upload_leaves_what_is_known_of_the_file(scene: Scene, trouble) -> None:
    scene.service.meet("upload", trouble)
    scene.hand_in("a.wav")
    async with scene.worker() as worker:
        await worker.submit()
    assert known(scene) == ("Audio", 9, DIGEST)


async def test_a_file_whose_uploads_failed_is_retried_by_its_category(scene: Scene) -> None:
    scene.service.meet("upload", "rejected")
    batch = scene.hand_in("a.wav")
    async with scene.worker() as worker:
        await worker.submit()
    failures = [FileState.FAILED]
    assert scene.store.retry(batch, failures, CREW, Narrow(category="Video")) == 0
    assert scene.store.retry(batch, failures, CREW, Narrow(category="Audio")) == 1


async def test_a_file_that_is_cancelled_in_flight_is_known_once_its_upload_ended(
    scene: Scene,
) -> None:
    batch = scene.hand_in("a.wav")
    scene.service.meet("upload", "refused")
    scene.service.meanwhile("upload", lambda: scene.store.cancel(batch))
    async with scene.worker() as worker:
        await worker.submit()
    assert scene.states() == {"a.wav": FileState.CANCELLED}
    assert known(scene) == ("Audio", 9, DIGEST)


async def test_a_file_that_no_category_takes_has_a_size(scene: Scene) -> None:
    scene.hand_in("a.xyz")
    async with scene.worker() as worker:
        await worker.submit()
    row = scene.row("a.xyz")
    assert (row.state, row.category, row.size) == (FileState.REJECTED, None, 9)


@pytest.mark.parametrize("rule", ["resubmit", "fail"])
async def test_an_upload_that_its_worker_did_not_live_to_tell_of_is_known(scene, rule) -> None:
    scene.rules = replace(scene.rules, on_unknown_upload=rule, break_after=1)
    scene.hand_in("a.wav")
    bench = Bench(scene.store)
    bench.send(bench.claim().files)
    bench.expire_leases()
    async with scene.worker() as worker:
        await worker.submit()
    assert known(scene) == ("Audio", 7, None)
    opened = [event for event, _ in scene.events.events if event == "breaker_opened"]
    assert len(opened) == (rule == "fail")


async def test_a_file_that_killed_its_workers_is_known_from_the_ledger(scene: Scene) -> None:
    scene.hand_in("a.wav")
    bench = Bench(scene.store)
    for _ in range(4):
        bench.begin(bench.claim().files)
        bench.expire_leases()
    assert bench.claim().files == ()
    assert scene.states() == {"a.wav": FileState.FAILED}
    assert known(scene) == ("Audio", 7, None)


# --- polls ---------------------------------------------------------------------------------------


async def poll_on(scene: Scene) -> None:
    async with scene.worker() as worker:
        while not scene.states()["a.wav"].is_terminal:
            await anyio.sleep(max(1.0, scene.due_in("a.wav"), *scene.frozen().values()))
            await worker.submit()
            await worker.poll()


@pytest.mark.parametrize("trouble", ["refused", "broken", "unreachable", "throttled", "overloaded"])
async def test_a_status_call_that_failed_is_counted(scene: Scene, trouble) -> None:
    scene.service.meet("ask", trouble)
    scene.service.will_say("a.wav", parsed("text", 5))
    await scene.submitted("a.wav")
    await poll_on(scene)
    assert scene.row("a.wav").polls == scene.service.calls["ask"] == 2
    ended = [fields for event, fields in scene.events.events if event == "file_ended"]
    assert [fields["polls"] for fields in ended] == [2]


async def test_status_calls_about_an_earlier_upload_are_counted(scene: Scene) -> None:
    scene.service.will_say("a.wav", failed(3))
    scene.service.will_say("a.wav", parsed("text", 5))
    await scene.submitted("a.wav")
    await poll_on(scene)
    row = scene.row("a.wav")
    assert (row.state, row.polls, row.upload_attempts) == (FileState.SUCCEEDED, 2, 2)


async def test_a_call_that_was_answered_too_late_is_counted(scene: Scene) -> None:
    scene.service.will_say("a.wav", parsed("text", 5))
    await scene.submitted("a.wav")
    scene.service.meanwhile("ask", lambda: scene.lose_leases(Lane.POLL))
    async with scene.worker() as worker:
        await anyio.sleep(scene.due_in("a.wav"))
        await worker.poll()
    row = scene.row("a.wav")
    assert (row.state, row.polls) == (FileState.POLLING, 1)


async def test_a_file_that_is_held_before_it_is_asked_for_is_not_counted(scene: Scene) -> None:
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        worker.context.gate.close(["status"], 0.4)
        claimed = scene.store.claim(PROFILE, CREW, Lane.POLL, 1, 60.0)
        assert claimed.files == ()
        await anyio.sleep(scene.due_in("a.wav"))
        (file,) = scene.store.claim(PROFILE, CREW, Lane.POLL, 1, 60.0).files
        await worker.recorder.hand_back(file)
    assert scene.row("a.wav").polls == 0
