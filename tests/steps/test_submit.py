"""A submit shift: what is uploaded, into how many dialogs, and what becomes of what is not."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from tests.contract.bench import CREW, PROFILE, Bench
from tests.fakes import RETRY_AFTER
from tests.steps.scene import Scene
from worker.core.lifecycle import FileState, Lane
from worker.core.model.batches import BatchOptions
from worker.core.model.ids import BatchId, Crew
from worker.core.timings import Timings
from worker.errors import SourceAway, SourceRejected

pytestmark = pytest.mark.anyio

RUN = Crew("run:1")


def sent(scene: Scene) -> list[str]:
    """The names that the service has taken, in their order."""
    return [taken.form.file_name for taken in scene.service.taken]


async def test_a_file_is_uploaded_once_and_polled_from_then_on(scene: Scene) -> None:
    scene.hand_in("a.wav")
    async with scene.worker() as worker:
        assert await worker.submit() is None
    row = scene.row("a.wav")
    assert (row.state, row.category, row.chatflow_file_id) == ("polling", "Audio", "1")
    assert row.size == len(scene.service.taken[0].data) == len("/in/a.wav")
    assert scene.uploads("a.wav") == ["accepted"]
    assert scene.story("a.wav") == ["submitting", "polling"]
    assert scene.due_in("a.wav") > 0


async def test_what_is_sent_follows_the_dialog_and_the_batch(scene: Scene) -> None:
    scene.hand_in("a.wav", options=BatchOptions(inputs='{"x": 1}'))
    async with scene.worker() as worker:
        await worker.submit()
    form = scene.service.taken[0].form
    assert (form.flow_uuid, form.extra_params) == ("flow-1", "audio_text")
    assert (form.parse_model, form.inputs) == ("text", '{"x": 1}')


async def test_a_dialog_is_opened_for_each_load_of_files_that_its_places_hold(scene: Scene) -> None:
    scene.hand_in("1.wav", "2.wav", "3.wav", "4.txt", "5.txt", "6.wav", "7.wav")
    async with scene.worker() as worker:
        await worker.submit()
    assert scene.service.calls["open"] == 3  # five recordings, two to a dialog
    assert len(sent(scene)) == 7


async def test_what_the_service_does_not_take_is_rejected_and_holds_up_nobody(scene: Scene) -> None:
    scene.hand_in("a.wav", "b.zip")
    async with scene.worker() as worker:
        await worker.submit()
    assert scene.states() == {"a.wav": FileState.POLLING, "b.zip": FileState.REJECTED}
    assert scene.row("b.zip").error_code == "unsupported_format"
    assert sent(scene) == ["a.wav"]


async def test_what_no_known_category_takes_is_asked_of_the_next_dialog(scene: Scene) -> None:
    scene.hand_in("a.wav")
    async with scene.worker() as worker:
        await worker.submit()
        scene.service.node = replace(
            scene.service.node,
            categories=(replace(scene.service.node.categories[0], formats=("zip",)),),
        )
        scene.hand_in("b.zip")
        await worker.submit()
    assert scene.states()["b.zip"] is FileState.POLLING


async def test_a_source_that_can_t_be_sent_is_rejected_without_a_dialog(scene: Scene) -> None:
    scene.hand_in("a.wav")
    scene.sources.refused["/in/a.wav"] = SourceRejected("no such file", code="not_found")
    async with scene.worker() as worker:
        await worker.submit()
    assert scene.states() == {"a.wav": FileState.REJECTED}
    assert scene.row("a.wav").error_code == "not_found"
    assert scene.service.calls["open"] == 0


async def test_a_source_whose_place_is_away_is_looked_at_again(scene: Scene) -> None:
    scene.hand_in("a.wav")
    scene.sources.refused["/in/a.wav"] = SourceAway("no route", code="unreadable")
    async with scene.worker() as worker:
        wait = await worker.submit()
        assert scene.states() == {"a.wav": FileState.QUEUED}
        scene.sources.refused.clear()
        await anyio.sleep(wait or 0.0)
        await worker.submit()
    assert scene.states() == {"a.wav": FileState.POLLING}
    assert scene.row("a.wav").failures == 0


async def test_a_dialog_without_an_upload_node_fails_its_files(scene: Scene) -> None:
    scene.hand_in("a.wav", "b.txt")
    scene.service.meet("open", "no node")
    async with scene.worker() as worker:
        await worker.submit()
    assert set(scene.states().values()) == {FileState.FAILED}
    assert scene.row("a.wav").error_code == "no_upload_node"
    assert scene.service.calls["upload"] == 0


# --- an upload that comes to nothing ---


async def test_a_refused_upload_is_tried_again_later(scene: Scene) -> None:
    scene.hand_in("a.wav")
    scene.service.meet("upload", "refused")
    async with scene.worker() as worker:
        await worker.submit()
        while scene.states()["a.wav"] is FileState.QUEUED:
            await anyio.sleep(scene.due_in("a.wav"))
            await worker.submit()
    assert scene.uploads("a.wav") == ["refused", "accepted"]
    assert "upload_refused" in scene.story("a.wav")
    assert scene.row("a.wav").attempts_used == 2


async def test_a_file_that_is_refused_as_often_as_is_allowed_fails(scene: Scene) -> None:
    scene.rules = replace(scene.rules, max_upload_attempts=2)
    scene.hand_in("a.wav")
    scene.service.meet("upload", "refused", "refused")
    async with scene.worker() as worker:
        while not scene.states()["a.wav"].is_terminal:
            await worker.submit()
            await anyio.sleep(1.0)
    assert scene.states() == {"a.wav": FileState.FAILED}
    assert scene.row("a.wav").error_code == "400123"
    assert scene.service.calls["upload"] == 2


@pytest.mark.parametrize(("trouble", "trials"), [("refused", 0), ("unauthorized", 1)])
async def test_attempts_after_any_refusal_come_at_growing_intervals(
    scene: Scene, trouble, trials
) -> None:
    scene.hand_in("a.wav")
    scene.service.meet("upload", *[trouble] * 5)
    waits = []
    async with scene.worker() as worker:
        while not scene.states()["a.wav"].is_terminal:
            await worker.submit()
            if not scene.states()["a.wav"].is_terminal:
                waits.append(scene.due_in("a.wav"))
                await anyio.sleep(waits[-1])
    assert len(waits) == 4
    assert all(0.45 * 2**n < wait <= 2**n for n, wait in enumerate(waits))
    assert (scene.service.calls["upload"], scene.service.calls["open"]) == (5, 5 + trials)


async def test_an_upload_that_is_refused_for_good_is_not_repeated(scene: Scene) -> None:
    scene.hand_in("a.wav", "b.wav")
    scene.service.meet("upload", "rejected")
    async with scene.worker() as worker:
        await worker.submit()
    assert scene.states() == {"a.wav": FileState.FAILED, "b.wav": FileState.POLLING}
    assert scene.uploads("a.wav") == ["refused"]


async def test_an_upload_whose_reply_is_lost_settles_first_and_is_sent_again(scene: Scene) -> None:
    scene.hand_in("a.wav")
    scene.service.meet("upload", "lost")
    async with scene.worker() as worker:
        await worker.submit()
        assert scene.uploads("a.wav") == ["unknown"]
        assert scene.due_in("a.wav") == pytest.approx(Timings().settle_delay, abs=3.0)
        await anyio.sleep(Timings().settle_delay)
        await worker.submit()
    assert scene.uploads("a.wav") == ["unknown", "accepted"]
    assert scene.events.said("upload_unknown")
    assert scene.row("a.wav").chatflow_file_id == "2"


async def test_a_lost_reply_fails_the_file_where_the_rules_want_it(scene: Scene) -> None:
    scene.rules = replace(scene.rules, on_unknown_upload="fail")
    scene.hand_in("a.wav")
    scene.service.meet("upload", "lost")
    async with scene.worker() as worker:
        await worker.submit()
    assert scene.states() == {"a.wav": FileState.FAILED}
    assert scene.service.calls["upload"] == 1


async def test_an_upload_that_found_no_connection_uses_up_no_attempt(scene: Scene) -> None:
    scene.hand_in("a.wav")
    scene.service.meet("upload", "unreachable")
    async with scene.worker() as worker:
        await worker.submit()
        row = scene.row("a.wav")
        assert (row.attempts_used, row.failures) == (0, 1)
        await anyio.sleep(30.0)
        await worker.submit()
    assert scene.uploads("a.wav") == ["withdrawn", "accepted"]


async def test_a_source_that_breaks_off_while_it_is_sent_is_a_refusal(scene: Scene) -> None:
    scene.hand_in("a.wav")
    scene.sources.broken["/in/a.wav"] = SourceRejected("changed", code="changed")
    async with scene.worker() as worker:
        await worker.submit()
    assert scene.uploads("a.wav") == ["refused"]
    assert scene.states() == {"a.wav": FileState.QUEUED}
    assert sent(scene) == []


async def test_a_bug_that_one_file_meets_harms_no_other(scene: Scene) -> None:
    scene.hand_in("a.wav", "b.wav")
    scene.sources.broken["/in/a.wav"] = ZeroDivisionError("a bug")
    async with scene.worker() as worker:
        await worker.submit()
    assert scene.states() == {"a.wav": FileState.SUBMITTING, "b.wav": FileState.POLLING}
    assert scene.events.said("step_failed", file=str(scene.row("a.wav").id))
    assert scene.due_in("a.wav") > 0  # its lease runs out, and counts as a death


# --- the service wants a rest, or nothing of us ---


@pytest.mark.parametrize(
    ("trouble", "held"), [("throttled", {"upload"}), ("overloaded", {"upload", "status"})]
)
async def test_a_busy_service_is_left_alone_as_long_as_it_asks(scene: Scene, trouble, held) -> None:
    scene.hand_in("a.wav")
    scene.service.meet("upload", trouble)
    async with scene.worker() as worker:
        wait = await worker.submit()
        assert scene.frozen().keys() == held
        assert wait is not None
        assert RETRY_AFTER - 3.0 < wait < 1.2 * RETRY_AFTER  # it lingers before it gives up
        assert scene.uploads("a.wav") == ["withdrawn"]
        assert scene.row("a.wav").attempts_used == 0
        await anyio.sleep(wait)
        await worker.submit()
    assert scene.uploads("a.wav") == ["withdrawn", "accepted"]
    assert scene.frozen() == {}


async def test_files_that_wait_for_a_busy_service_keep_their_places(scene: Scene) -> None:
    scene.rules = replace(scene.rules, max_concurrent_uploads=1)
    scene.hand_in("1.txt", "2.txt", "3.txt")
    scene.service.meet("upload", "", "throttled")
    async with scene.worker() as worker:
        while FileState.QUEUED in scene.states().values():
            await anyio.sleep(await worker.submit() or 0.0)
    assert set(scene.states().values()) == {FileState.POLLING}
    assert scene.service.calls["open"] == 1


async def test_a_profile_that_is_frozen_or_paused_is_not_touched(scene: Scene) -> None:
    scene.hand_in("a.wav")
    async with scene.worker() as worker:
        scene.store.freeze(PROFILE, ["upload"], 60.0, "429")
        assert await worker.submit() == pytest.approx(60.0, abs=3.0)
        scene.store.pause(PROFILE, "401")
        await anyio.sleep(60.0)
        await worker.submit()
    assert scene.service.calls == {}
    assert scene.states() == {"a.wav": FileState.QUEUED}


async def test_refused_credentials_pause_a_fleet(scene: Scene) -> None:
    scene.hand_in("a.wav", "b.wav")
    scene.service.meet("open", "unauthorized")
    async with scene.worker() as worker:
        await worker.submit()
    assert scene.store.paused() == [PROFILE]
    assert set(scene.states().values()) == {FileState.QUEUED}
    assert scene.service.calls["upload"] == 0


async def test_refused_credentials_end_a_run(scene: Scene) -> None:
    scene.hand_in("a.wav", "b.wav", crew=RUN)
    scene.service.meet("open", "unauthorized")
    async with scene.worker(crew=RUN) as worker:
        await worker.submit()
    assert set(scene.states().values()) == {FileState.FAILED}
    assert scene.row("a.wav").error_code == "credentials_refused"
    assert scene.store.paused() == []


@pytest.mark.parametrize(
    ("trial", "paused", "uploads"),
    [("unauthorized", [PROFILE], ["withdrawn"]), ("", [], ["refused"])],
)
async def test_an_upload_that_is_refused_for_its_credentials_is_tried_by_a_dialog(
    scene: Scene, trial, paused, uploads
) -> None:
    scene.hand_in("a.wav")
    scene.service.meet("upload", "unauthorized")
    scene.service.meet("open", "", trial)
    async with scene.worker() as worker:
        await worker.submit()
    assert scene.store.paused() == paused
    assert scene.uploads("a.wav") == uploads
    assert scene.states() == {"a.wav": FileState.QUEUED}
    assert scene.service.calls["open"] == 2


# --- somebody interferes ---


async def test_a_drain_waits_for_what_is_in_hand_until_the_grace_is_over(scene: Scene) -> None:
    scene.rules = replace(scene.rules, max_concurrent_uploads=1)
    scene.hand_in("1.txt", "2.txt")
    async with scene.worker() as worker:

        async def drain() -> None:
            worker.stop.set()
            await anyio.sleep(3.0)

        scene.service.meanwhile("upload", drain, anyio.sleep_forever)
        await worker.submit()
    assert scene.uploads("1.txt") == ["accepted"]
    assert scene.states()["1.txt"] is FileState.POLLING
    assert scene.uploads("2.txt") == ["unknown"]


async def test_a_drain_before_the_dialog_is_open_sends_nothing(scene: Scene) -> None:
    scene.hand_in("a.wav")
    async with scene.worker() as worker:
        scene.service.meanwhile("open", worker.stop.set)
        scene.service.meet("open", "broken")
        await worker.submit()
    assert scene.states() == {"a.wav": FileState.QUEUED}
    assert scene.due_in("a.wav") <= 0
    assert scene.service.calls == {"open": 1}


async def test_an_upload_that_outlasts_the_grace_is_honestly_unknown(scene: Scene) -> None:
    scene.hand_in("a.wav")
    async with scene.worker() as worker:

        async def drain() -> None:
            worker.stop.set()
            await anyio.sleep_forever()

        scene.service.meanwhile("upload", drain)
        await worker.submit()
    assert scene.uploads("a.wav") == ["unknown"]
    assert scene.states() == {"a.wav": FileState.QUEUED}


async def test_a_file_that_is_another_s_by_now_is_not_sent(scene: Scene) -> None:
    scene.hand_in("a.wav")
    async with scene.worker() as worker:
        scene.service.meanwhile("open", lambda: scene.lose_leases(Lane.SUBMIT))
        await worker.submit()
    assert sent(scene) == []
    assert scene.states() == {"a.wav": FileState.SUBMITTING}  # the other's


async def test_a_reply_that_comes_after_the_lease_was_lost_is_kept(scene: Scene) -> None:
    scene.hand_in("a.wav")
    async with scene.worker() as worker:
        scene.service.meanwhile("upload", lambda: scene.lose_leases(Lane.SUBMIT))
        await worker.submit()
    assert scene.uploads("a.wav") == ["accepted"]
    assert scene.states() == {"a.wav": FileState.POLLING}
    assert scene.row("a.wav").chatflow_file_id == "1"


async def test_an_upload_that_another_only_meant_is_called_off_by_a_late_reply(
    scene: Scene,
) -> None:
    scene.hand_in("a.wav")
    others = Bench(scene.store)
    async with scene.worker() as worker:
        scene.service.meanwhile("upload", lambda: others.begin(scene.lose_leases(Lane.SUBMIT)))
        await worker.submit()
    assert scene.uploads("a.wav") == ["accepted", "withdrawn"]
    assert scene.states() == {"a.wav": FileState.POLLING}


async def test_a_batch_that_is_cancelled_in_flight_stays_cancelled(scene: Scene) -> None:
    batch: BatchId = scene.hand_in("a.wav")
    async with scene.worker() as worker:
        scene.service.meanwhile("upload", lambda: scene.store.cancel(batch))
        await worker.submit()
    assert scene.states() == {"a.wav": FileState.CANCELLED}
    assert scene.uploads("a.wav") == ["accepted"]  # what the ledger learns is a fact
    assert scene.row("a.wav").attempts_used == 1


async def test_a_batch_that_is_cancelled_before_its_uploads_sends_nothing(scene: Scene) -> None:
    batch = scene.hand_in("a.wav")
    async with scene.worker() as worker:
        scene.service.meanwhile("open", lambda: scene.store.cancel(batch))
        await worker.submit()
    assert scene.states() == {"a.wav": FileState.CANCELLED}
    assert sent(scene) == []


async def test_a_database_that_goes_away_in_the_middle_costs_no_reply(scene: Scene) -> None:
    scene.hand_in("a.wav")
    async with scene.worker() as worker:

        def away() -> None:
            worker.database.away, worker.database.lost = 5, 1

        scene.service.meanwhile("upload", away)
        await worker.submit()
    assert scene.uploads("a.wav") == ["accepted"]
    assert scene.states() == {"a.wav": FileState.POLLING}
    assert sent(scene) == ["a.wav"]


# --- what a dead worker left ---


async def test_an_upload_that_a_dead_worker_had_begun_is_not_repeated_at_once(scene: Scene) -> None:
    scene.hand_in("a.wav")
    dead = Bench(scene.store)
    dead.send(dead.claim().files)
    dead.expire_leases()
    async with scene.worker() as worker:
        await worker.submit()
        assert scene.uploads("a.wav") == ["unknown"]
        assert sent(scene) == []
        await anyio.sleep(Timings().settle_delay)
        await worker.submit()
    assert scene.uploads("a.wav") == ["unknown", "accepted"]


async def test_an_upload_that_was_taken_after_all_is_polled(scene: Scene) -> None:
    scene.hand_in("a.wav")
    scene.service.meet("upload", "lost")
    late = Bench(scene.store)
    async with scene.worker() as worker:
        await worker.submit()
        await anyio.sleep(Timings().settle_delay)
        (file,) = late.claim().files
        late.begin([file])
        late.mark_sent([late.uploads[file.id]])
        late.store.record([late.accepted(file)])
        await worker.submit()
    assert scene.states() == {"a.wav": FileState.POLLING}
    assert scene.service.calls["upload"] == 1


# --- limits ---


async def test_no_more_uploads_at_once_than_the_fleet_may_have(scene: Scene) -> None:
    scene.rules = replace(scene.rules, max_concurrent_uploads=2)
    scene.hand_in(*(f"{number}.txt" for number in range(6)))
    under_way, most = 0, 0

    async def upload() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await anyio.sleep(1.0)
        under_way -= 1

    scene.service.meanwhile("upload", *[upload] * 6)
    async with (
        scene.worker("w1") as one,
        scene.worker("w2") as two,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(one.submit)
        tasks.start_soon(two.submit)
    assert len(sent(scene)) == 6
    assert most == 2


async def test_a_worker_without_work_holds_no_share_of_the_uploads(scene: Scene) -> None:
    scene.rules = replace(scene.rules, max_concurrent_uploads=2)
    scene.hand_in("a.wav")
    async with scene.worker() as worker:
        await worker.submit()
    assert scene.store.share(PROFILE, "another", 0, 2, 15.0) == 2


async def test_uploads_keep_to_the_rate(scene: Scene) -> None:
    scene.rules = replace(scene.rules, rate_limit=1.0)
    scene.hand_in("1.txt", "2.txt", "3.txt")
    began = anyio.current_time()
    async with scene.worker() as worker:
        await worker.submit()
        assert anyio.current_time() - began >= 2.0
    assert len(sent(scene)) == 3


async def test_files_are_claimed_for_one_s_own_crew_only(scene: Scene) -> None:
    scene.hand_in("a.wav", crew=RUN)
    async with scene.worker(crew=CREW) as worker:
        assert await worker.submit() is None
    assert scene.states() == {"a.wav": FileState.QUEUED}
