"""One upload: what the ledger says before its first byte, and what it comes to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import anyio
import pytest

from tests.contract.bench import CREW, PROFILE, Bench
from tests.fakes import AUDIO, NODE, FakeSource
from tests.steps.scene import Scene, Worker
from worker.core.lifecycle import FileState, Lane
from worker.core.model.files import QueuedFile
from worker.core.model.ids import UploadId
from worker.core.planning import Assignment, form_for
from worker.core.verdicts import Traits, Verdict
from worker.errors import SourceAway, SourceRejected
from worker.steps.uploader import Uploader

pytestmark = pytest.mark.anyio


@dataclass
class Upload:
    """A file in hand whose upload stands in the ledger as an intent."""

    worker: Worker
    file: QueuedFile
    id: UploadId
    source: FakeSource

    async def make(self, *, probing: bool = False) -> Verdict | None:
        form = form_for(
            Assignment(self.file.id, "a.wav", AUDIO, AUDIO.parse_methods[0]), NODE, None
        )
        uploader = Uploader(self.worker.context, CREW)
        return await uploader.upload(
            self.file, self.source, self.id, "Audio", form, probing=probing
        )


def meant(scene: Scene, worker: Worker, **source) -> Upload:
    scene.hand_in("a.wav")
    bench = Bench(scene.store)
    (file,) = bench.claim().files
    bench.begin([file])
    worker.context.slots.total_tokens = 1
    return Upload(worker, file, bench.uploads[file.id], FakeSource("a.wav", b"sound", **source))


async def test_an_upload_is_sent_before_its_first_byte_and_accepted_by_its_reply(
    scene: Scene,
) -> None:
    async with scene.worker() as worker:
        upload = meant(scene, worker)
        before: list[str] = []
        scene.service.meanwhile("upload", lambda: before.extend(scene.uploads("a.wav")))
        verdict = await upload.make()
    assert before == ["sent"]
    assert verdict is not None
    assert verdict.state is FileState.POLLING
    assert scene.service.taken[0].data == b"sound"
    assert scene.events.counts["chatflow_ingest_uploads_total", PROFILE, "accepted"] == 1


async def test_what_was_sent_is_told_with_its_size_and_digest(scene: Scene) -> None:
    async with scene.worker() as worker:
        verdict = await meant(scene, worker).make()
    assert verdict is not None
    digest = hashlib.sha256(b"sound").hexdigest()
    assert verdict.traits == Traits("Audio", 5, digest)  # type: ignore[union-attr]


async def test_a_source_that_broke_off_has_no_digest(scene: Scene) -> None:
    changed = SourceRejected("changed", code="changed")
    async with scene.worker() as worker:
        verdict = await meant(scene, worker, failure=changed).make()
    assert verdict is not None
    assert verdict.traits == Traits("Audio", 5, None)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("trouble", "state", "ledger"),
    [
        ("refused", FileState.QUEUED, "refused"),
        ("rejected", FileState.FAILED, "refused"),
        ("lost", FileState.QUEUED, "unknown"),
        ("unreachable", FileState.QUEUED, "withdrawn"),
        ("throttled", FileState.QUEUED, "withdrawn"),
        ("overloaded", FileState.QUEUED, "withdrawn"),
        ("moved", FileState.QUEUED, "withdrawn"),
    ],
)
async def test_each_way_to_come_to_nothing(scene: Scene, trouble, state, ledger) -> None:
    scene.service.meet("upload", trouble)
    async with scene.worker() as worker:
        verdict = await meant(scene, worker).make()
    assert verdict is not None
    assert verdict.upload is not None
    assert (verdict.state, verdict.upload.state) == (state, ledger)


async def test_nothing_is_sent_while_the_process_holds_its_uploads(scene: Scene) -> None:
    async with scene.worker() as worker:
        worker.context.gate.close(["upload"], 60.0)
        assert await meant(scene, worker).make() is None
    assert scene.uploads("a.wav") == ["intent"]
    assert scene.service.calls == {}


@pytest.mark.parametrize("hold", ["freeze", "pause"])
async def test_nothing_is_sent_while_the_fleet_holds_its_uploads(scene: Scene, hold) -> None:
    async with scene.worker() as worker:
        upload = meant(scene, worker)
        if hold == "freeze":
            scene.store.freeze(PROFILE, ["upload"], 60.0, "429")
        else:
            scene.store.pause(PROFILE, "401")
        assert await upload.make() is None
    assert scene.uploads("a.wav") == ["intent"]
    assert scene.service.calls == {}


async def test_nothing_is_sent_of_a_file_that_is_another_s(scene: Scene) -> None:
    async with scene.worker() as worker:
        upload = meant(scene, worker)
        scene.lose_leases(Lane.SUBMIT)
        assert await upload.make() is None
    assert scene.service.calls == {}


async def test_an_upload_waits_for_a_slot(scene: Scene) -> None:
    async with scene.worker() as worker:
        upload = meant(scene, worker)
        worker.context.slots.total_tokens = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(upload.make)
            await anyio.sleep(10.0)
            assert scene.uploads("a.wav") == ["intent"]
            worker.context.slots.total_tokens = 1
    assert scene.service.calls["upload"] == 1


async def test_a_slot_is_given_back_whatever_happens(scene: Scene) -> None:
    scene.service.meet("upload", "lost")
    async with scene.worker() as worker:
        await meant(scene, worker).make()
        assert worker.context.slots.borrowed_tokens == 0


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (SourceRejected("too large", code="too_large"), FileState.REJECTED),
        (SourceAway("no route", code="unreadable"), FileState.QUEUED),
    ],
)
async def test_a_source_that_is_gone_by_now_uses_up_no_attempt(scene: Scene, error, state) -> None:
    async with scene.worker() as worker:
        verdict = await meant(scene, worker, refusal=error).make()
    assert verdict is not None
    assert verdict.upload is not None
    assert (verdict.state, verdict.upload.state) == (state, "withdrawn")
    assert scene.service.calls == {}


async def test_a_source_that_breaks_off_can_t_have_been_taken(scene: Scene) -> None:
    async with scene.worker() as worker:
        error = SourceRejected("it changed", code="changed")
        verdict = await meant(scene, worker, failure=error).make()
    assert verdict is not None
    assert verdict.upload is not None
    assert (verdict.state, verdict.upload.state) == (FileState.QUEUED, "refused")
    assert scene.service.taken == []


async def test_an_upload_that_is_cut_off_is_recorded_as_unknown(scene: Scene) -> None:
    scene.service.meanwhile("upload", anyio.sleep_forever)
    async with scene.worker() as worker:
        upload = meant(scene, worker)
        with anyio.move_on_after(5.0):
            await upload.make()
        assert scene.uploads("a.wav") == ["unknown"]
    assert scene.states() == {"a.wav": FileState.QUEUED}


async def test_a_cut_off_upload_fails_its_file_where_the_rules_want_it(scene: Scene) -> None:
    scene.rules = replace(scene.rules, on_unknown_upload="fail")
    scene.service.meanwhile("upload", anyio.sleep_forever)
    async with scene.worker() as worker:
        upload = meant(scene, worker)
        with anyio.move_on_after(5.0):
            await upload.make()
    assert scene.states() == {"a.wav": FileState.FAILED}


@pytest.mark.parametrize("trouble", ["", "refused", "lost"])
async def test_a_probe_that_is_answered_ends_the_freeze(scene: Scene, trouble) -> None:
    scene.service.meet("upload", trouble)
    scene.store.freeze(PROFILE, ["upload"], 1.0, "429")
    await anyio.sleep(2.0)
    async with scene.worker() as worker:
        await meant(scene, worker).make(probing=True)
    assert scene.store.strikes(PROFILE, "upload") == 0
    assert scene.events.said("profile_thawed", channel="upload")


@pytest.mark.parametrize("trouble", ["throttled", "unreachable"])
async def test_a_probe_that_does_not_get_through_ends_nothing(scene: Scene, trouble) -> None:
    scene.service.meet("upload", trouble)
    scene.store.freeze(PROFILE, ["upload"], 1.0, "429")
    await anyio.sleep(2.0)
    async with scene.worker() as worker:
        await meant(scene, worker).make(probing=True)
    assert scene.store.strikes(PROFILE, "upload") > 0
    assert scene.events.said("profile_thawed") == []


async def test_uploads_that_hit_the_same_wall_strike_once(scene: Scene) -> None:
    scene.service.meet("upload", "throttled", "throttled")
    async with scene.worker() as worker, anyio.create_task_group() as tasks:
        first, second = meant(scene, worker), meant(scene, worker)
        worker.context.slots.total_tokens = 2
        tasks.start_soon(first.make)
        tasks.start_soon(second.make)
    assert scene.service.calls["upload"] == 2
    assert scene.store.strikes(PROFILE, "upload") == 1
    assert len(scene.events.said("profile_frozen")) == 1
