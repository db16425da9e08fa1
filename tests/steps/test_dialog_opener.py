"""Opening a dialog: again while that makes sense, and what the fleet is told when it does not."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from tests.contract.bench import CREW, PROFILE
from tests.fakes import NODE, RETRY_AFTER
from tests.steps.scene import Scene, Worker
from worker.core.lifecycle import FileState
from worker.core.model.ids import Crew
from worker.core.model.wire import DialogSession
from worker.core.pacing import DIALOG_ATTEMPTS
from worker.errors import NoUploadNode
from worker.steps.dialog_opener import DialogOpener

pytestmark = pytest.mark.anyio

RUN = Crew("run:1")


async def opened(worker: Worker) -> DialogSession | None:
    return await DialogOpener(worker.context, worker.crew, worker.stop).open()


async def test_a_dialog_tells_its_node_and_what_files_may_be_planned_by(scene: Scene) -> None:
    async with scene.worker() as worker:
        session = await opened(worker)
        assert session is not None
        assert session.node == NODE
        assert worker.context.categories == NODE.categories


async def test_a_dialog_that_fails_is_opened_again_after_a_pause(scene: Scene) -> None:
    scene.service.meet("open", "broken", "unreachable")
    began = anyio.current_time()
    async with scene.worker() as worker:
        assert await opened(worker) is not None
    assert scene.service.calls["open"] == 3
    assert anyio.current_time() - began > 0.5
    assert [each["attempt"] for each in scene.events.said("dialog_failed")] == [1, 2]
    assert scene.frozen() == {}


async def test_a_fleet_that_gets_no_dialog_rests_and_gives_its_files_back(scene: Scene) -> None:
    scene.service.meet("open", *["broken"] * DIALOG_ATTEMPTS)
    async with scene.worker() as worker:
        assert await opened(worker) is None
    assert scene.service.calls["open"] == DIALOG_ATTEMPTS
    assert scene.frozen().keys() == {"upload", "status"}


async def test_a_run_that_gets_no_dialog_ends_once_its_patience_is_over(scene: Scene) -> None:
    scene.rules = replace(scene.rules, unreachable_after=30.0)
    scene.hand_in("a.wav", crew=RUN)
    scene.service.meet("open", *["unreachable"] * 10 * DIALOG_ATTEMPTS)
    rounds = 0
    async with scene.worker(crew=RUN) as worker:
        began = anyio.current_time()
        while scene.states()["a.wav"] is FileState.QUEUED:
            assert await opened(worker) is None
            await anyio.sleep(worker.context.gate.left("upload"))
            rounds += 1
        assert anyio.current_time() - began >= 30.0
    assert rounds > 1
    assert scene.row("a.wav").error_code == "service_unavailable"


@pytest.mark.parametrize("trouble", ["unauthorized", "moved"])
async def test_a_fleet_that_is_turned_away_waits_for_a_human(scene: Scene, trouble) -> None:
    scene.service.meet("open", trouble)
    async with scene.worker() as worker:
        assert await opened(worker) is None
    assert scene.service.calls["open"] == 1
    assert scene.store.paused() == [PROFILE]
    assert scene.events.names == ["profile_paused"]


async def test_a_run_that_is_turned_away_ends(scene: Scene) -> None:
    scene.hand_in("a.wav", crew=RUN)
    scene.service.meet("open", "moved")
    async with scene.worker(crew=RUN) as worker:
        assert await opened(worker) is None
    assert scene.row("a.wav").error_code == "redirected"
    assert scene.store.paused() == []


async def test_a_dialog_without_an_upload_node_is_not_tried_again(scene: Scene) -> None:
    scene.service.meet("open", "no node")
    async with scene.worker() as worker:
        with pytest.raises(NoUploadNode):
            await opened(worker)
    assert scene.service.calls["open"] == 1


@pytest.mark.parametrize(
    ("trouble", "held"), [("throttled", {"upload"}), ("overloaded", {"upload", "status"})]
)
async def test_a_dialog_that_is_throttled_holds_the_fleet_and_waits(
    scene: Scene, trouble, held
) -> None:
    scene.service.meet("open", trouble)
    frozen = {}

    def look() -> None:
        frozen.update(scene.frozen())

    async with scene.worker() as worker, anyio.create_task_group() as tasks:
        began = anyio.current_time()
        tasks.start_soon(opened, worker)
        await anyio.sleep(1.0)
        look()
    assert frozen.keys() == held
    assert anyio.current_time() - began >= RETRY_AFTER
    assert scene.service.calls["open"] == 2


async def test_the_dialog_that_follows_a_throttled_one_lets_uploads_go_on(scene: Scene) -> None:
    scene.service.meet("open", "throttled")
    async with scene.worker() as worker:
        await opened(worker)
    assert scene.store.strikes(PROFILE, "upload") == 0
    assert scene.events.names[-1] == "profile_thawed"


async def test_no_dialog_is_opened_by_a_worker_that_drains(scene: Scene) -> None:
    async with scene.worker() as worker:
        worker.stop.set()
        assert await opened(worker) is None
    assert scene.service.calls == {}


async def test_a_drain_ends_the_pause_between_two_dialogs(scene: Scene) -> None:
    scene.service.meet("open", "throttled")
    async with scene.worker() as worker, anyio.create_task_group() as tasks:
        began = anyio.current_time()
        tasks.start_soon(opened, worker)
        await anyio.sleep(1.0)
        worker.stop.set()
    assert anyio.current_time() - began < 2.0
    assert scene.service.calls == {"open": 1}


async def test_files_of_another_crew_stay_as_they_are_when_a_run_ends(scene: Scene) -> None:
    scene.hand_in("a.wav", crew=CREW)
    scene.service.meet("open", "unauthorized")
    async with scene.worker(crew=RUN) as worker:
        await opened(worker)
    assert scene.states() == {"a.wav": FileState.QUEUED}
