"""A sweep: what is over is stamped, what is due is woken once, what is paused is probed."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from tests.contract.bench import CREW, PROFILE, Bench, done
from tests.steps.scene import Scene
from worker.core.gate import PROBE_EVERY
from worker.core.lifecycle import BatchState, Lane
from worker.core.model.fleet import Due
from worker.core.model.ids import BatchId, Crew, is_run
from worker.ports.telemetry import Telemetry
from worker.steps import sweep
from worker.steps.sweep import LOOK_AHEAD, Sweep

pytestmark = pytest.mark.anyio

RUN = Crew("run:1")
QUIET = 2.0


def never(_: Due) -> bool:
    return False


def wake(
    scene: Scene,
    *,
    mine: Callable[[Crew], bool] = lambda crew: not is_run(crew),
    busy: Callable[[Due], bool] = never,
) -> list[tuple[str, ...]]:
    """Who is woken by one sweep."""
    scene.waker.woken.clear()
    sweep_once(scene, mine=mine, busy=busy)
    return list(scene.waker.woken)


def sweep_once(
    scene: Scene,
    *,
    mine: Callable[[Crew], bool] = lambda crew: not is_run(crew),
    busy: Callable[[Due], bool] = never,
    telemetry: Telemetry | None = None,
) -> list[BatchId]:
    """Which batches one sweep finds finished."""
    told = telemetry or scene.events
    return Sweep(scene.store, scene.waker, told, QUIET, True, mine, busy).once()


SUBMIT, POLL = (PROFILE, CREW, Lane.SUBMIT), (PROFILE, CREW, Lane.POLL)


# --- what is over ---


async def test_a_batch_without_an_open_file_is_finished_once(scene: Scene) -> None:
    bench = Bench(scene.store)
    batch, files = bench.polling(2, notify={"task": "done"})
    scene.store.record([done(files[0])])
    assert sweep_once(scene) == []
    scene.store.record([done(files[1])])
    assert sweep_once(scene) == [batch]
    assert sweep_once(scene) == []
    ((name, told),) = scene.events.events
    assert (name, told["batch"], told["files"], told["succeeded"]) == (
        "batch_finished", str(batch), 2, 2,
    )  # fmt: skip
    assert told["seconds"] >= 0
    assert scene.store.status(batch).state is BatchState.FINISHED
    assert len(scene.store.undelivered()) == 1


async def test_a_batch_that_is_still_handed_in_is_not_finished(scene: Scene) -> None:
    bench = Bench(scene.store)
    batch = bench.batch(0, sealed=False)
    assert sweep_once(scene) == []
    scene.store.seal(batch)
    assert sweep_once(scene) == [batch]


# --- what is due ---


async def test_each_lane_that_has_work_is_woken(scene: Scene) -> None:
    await scene.submitted("a.wav")
    scene.hand_in("b.wav")
    await anyio.sleep(5.0)
    assert sorted(wake(scene)) == [POLL, SUBMIT]


async def test_nobody_is_woken_for_work_that_is_not_due(scene: Scene) -> None:
    await scene.submitted("a.wav")
    scene.store.freeze(PROFILE, ["status"], 10.0, "429")
    assert wake(scene) == []
    await anyio.sleep(10.0 - LOOK_AHEAD / 2)
    assert wake(scene) == [POLL]


async def test_nobody_is_woken_for_a_paused_profile(scene: Scene) -> None:
    scene.hand_in("a.wav")
    scene.store.pause(PROFILE, "401")
    assert wake(scene) == []
    scene.store.resume(PROFILE)
    assert wake(scene) == [SUBMIT]


async def test_two_sweeps_at_once_wake_once(scene: Scene) -> None:
    scene.hand_in("a.wav")
    assert wake(scene) == [SUBMIT]
    assert wake(scene) == []
    await anyio.sleep(QUIET)
    assert wake(scene) == [SUBMIT]


async def test_a_sweep_that_is_busy_with_it_leaves_the_wake_up_to_others(scene: Scene) -> None:
    scene.hand_in("a.wav")
    assert wake(scene, busy=lambda due: due.lane is Lane.SUBMIT) == []
    assert wake(scene) == [SUBMIT]


async def test_a_worker_wakes_its_own_crew_only(scene: Scene) -> None:
    scene.hand_in("a.wav", crew=RUN)
    assert wake(scene) == []
    assert wake(scene, mine=lambda crew: crew == RUN) == [(PROFILE, RUN, Lane.SUBMIT)]


async def test_files_in_hand_are_woken_for_when_their_lease_runs_out(scene: Scene) -> None:
    scene.hand_in("a.wav")
    Bench(scene.store).claim(lease=60.0)
    assert wake(scene) == []
    await anyio.sleep(60.0)
    assert wake(scene) == [SUBMIT]


# --- what is paused ---


async def probe(scene: Scene) -> None:
    await sweep.probe(scene.store, scene.service, PROFILE, scene.events)


async def paused(scene: Scene) -> None:
    """A pause whose first probe is due."""
    scene.store.pause(PROFILE, "401")
    await anyio.sleep(PROBE_EVERY)


async def test_a_pause_is_probed_after_a_while_and_each_time_once(scene: Scene) -> None:
    scene.service.meet("open", "unauthorized", "unauthorized")
    scene.store.pause(PROFILE, "401")
    await probe(scene)
    assert scene.service.calls["open"] == 0
    await anyio.sleep(PROBE_EVERY)
    await probe(scene)
    await probe(scene)
    assert scene.service.calls["open"] == 1


async def test_a_dialog_that_goes_well_ends_the_pause(scene: Scene) -> None:
    await paused(scene)
    await probe(scene)
    assert scene.store.paused() == []
    assert scene.events.names == ["profile_resumed"]


async def test_a_dialog_without_an_upload_node_ends_the_pause_too(scene: Scene) -> None:
    scene.service.meet("open", "no node")
    await paused(scene)
    await probe(scene)
    assert scene.store.paused() == []


@pytest.mark.parametrize(
    ("trouble", "event"),
    [
        ("unauthorized", "credentials_refused"),
        ("moved", "redirected"),
        ("broken", "dialog_failed"),
        ("throttled", "dialog_failed"),
        ("unreachable", "dialog_failed"),
    ],
)
async def test_a_probe_that_fails_says_why_and_ends_nothing(scene: Scene, trouble, event) -> None:
    scene.service.meet("open", trouble)
    await paused(scene)
    await probe(scene)
    assert scene.store.paused() == [PROFILE]
    assert scene.events.names == [event]


async def test_a_profile_that_is_not_paused_is_not_probed(scene: Scene) -> None:
    await probe(scene)
    assert scene.service.calls == {}
