"""A poll shift: what is asked, and what becomes of a file by what is said, or is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest
from sqlalchemy import select

from tests.contract.bench import PROFILE, Bench
from tests.fakes import RETRY_AFTER, failed, on_the_way, parsed
from tests.steps.scene import Scene, Worker
from worker.adapters.database.tables import results
from worker.core.lifecycle import FileState, Lane, SettleAt
from worker.core.model.ids import Crew
from worker.core.model.wire import StatusReply
from worker.steps.poll import MANY_CHARACTERS, OUT_OF_REACH_AFTER

pytestmark = pytest.mark.anyio

RUN = Crew("run:1")


def contents(scene: Scene, name: str) -> str | None:
    """What is stored of a file's parsed content, None for nothing."""
    chosen = select(results).where(results.c.file_id == scene.row(name).id)
    rows: list[Any] = scene.rows(chosen)
    return rows[0].parse_content if rows else None


async def poll_on(scene: Scene, worker: Worker, name: str = "a.wav") -> None:
    """Poll whenever the file is due, until it is polled no more."""
    while scene.states()[name] is FileState.POLLING:
        await anyio.sleep(max(0.0, scene.due_in(name)))
        await worker.poll()


# --- what the service says ---


async def test_a_file_is_asked_for_until_it_is_ready(scene: Scene) -> None:
    scene.service.will_say("a.wav", on_the_way(1), on_the_way(4), parsed("the text", 5))
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        await poll_on(scene, worker)
    row = scene.row("a.wav")
    assert (row.state, row.service_status, row.polls) == ("succeeded", 5, 3)
    assert contents(scene, "a.wav") == "the text"
    assert scene.service.calls["ask"] == 3


@pytest.mark.parametrize(
    ("reply", "state", "code"),
    [
        (parsed("text", 7), FileState.SUCCEEDED, None),
        (failed(6), FileState.FAILED, "parse_failed"),
        (failed(8), FileState.FAILED, "flow_failed"),
        (failed(8, "text"), FileState.PARTIAL, "flow_failed"),
    ],
)
async def test_a_final_word_ends_the_file(scene: Scene, reply: StatusReply, state, code) -> None:
    scene.service.will_say("a.wav", reply)
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        await poll_on(scene, worker)
    row = scene.row("a.wav")
    assert (row.state, row.error_code) == (state, code)
    assert contents(scene, "a.wav") == reply.parse_content
    assert row.error_message == (reply.error_message or None)


async def test_a_file_that_settles_with_its_flow_keeps_what_parsing_brought(scene: Scene) -> None:
    scene.rules = replace(scene.rules, settle_at=SettleAt.FLOW)
    scene.service.will_say("a.wav", parsed("early", 5), parsed("late", 7))
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        await anyio.sleep(scene.due_in("a.wav"))
        await worker.poll()
        assert scene.states() == {"a.wav": FileState.POLLING}
        assert contents(scene, "a.wav") == "early"
        await poll_on(scene, worker)
    assert scene.states() == {"a.wav": FileState.SUCCEEDED}
    assert contents(scene, "a.wav") == "late"


async def test_a_flow_that_fails_after_parsing_loses_nothing(scene: Scene) -> None:
    scene.rules = replace(scene.rules, settle_at=SettleAt.FLOW)
    scene.service.will_say("a.wav", parsed("early", 5), failed(8))
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        await poll_on(scene, worker)
    assert scene.states() == {"a.wav": FileState.PARTIAL}
    assert contents(scene, "a.wav") == "early"


async def test_contents_that_come_after_the_status_are_waited_for_in_ocr_mode(scene: Scene) -> None:
    scene.rules = replace(scene.rules, flow_failed_succeeds=True)
    scene.service.will_say("a.wav", failed(8), failed(8, "[]"), failed(8, "late"))
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        await poll_on(scene, worker)
    assert scene.states() == {"a.wav": FileState.SUCCEEDED}
    assert contents(scene, "a.wav") == "late"


async def test_an_upload_that_the_service_failed_to_take_is_made_again(scene: Scene) -> None:
    scene.service.will_say("a.wav", failed(3))
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        await poll_on(scene, worker)
        assert scene.states() == {"a.wav": FileState.QUEUED}
        await anyio.sleep(scene.due_in("a.wav"))
        await worker.submit()
        await poll_on(scene, worker)
    assert scene.states() == {"a.wav": FileState.SUCCEEDED}
    assert scene.uploads("a.wav") == ["accepted", "accepted"]
    assert "upload_failed" in scene.story("a.wav")


async def test_uploads_that_the_service_fails_to_take_come_to_an_end(scene: Scene) -> None:
    scene.rules = replace(scene.rules, max_upload_attempts=1)
    scene.service.will_say("a.wav", failed(3, words="disk full"))
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        await poll_on(scene, worker)
    row = scene.row("a.wav")
    assert (row.state, row.error_code, row.error_message) == (
        "failed",
        "upload_failed",
        "disk full",
    )


async def test_a_status_that_nobody_knows_is_told_once_and_asked_again(scene: Scene) -> None:
    strange = on_the_way(42)
    scene.service.will_say("a.wav", strange, strange, parsed("text"))
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        await poll_on(scene, worker)
    assert scene.states() == {"a.wav": FileState.SUCCEEDED}
    assert scene.story("a.wav").count("unknown_status") == 1
    assert len(scene.events.said("unknown_status", status=42)) == 1


async def test_contents_of_any_length_are_stored(scene: Scene) -> None:
    text = "word " * MANY_CHARACTERS
    scene.service.will_say("a.wav", parsed(text))
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        await poll_on(scene, worker)
    assert contents(scene, "a.wav") == text


# --- deadlines ---


async def test_a_file_that_is_not_ready_at_its_deadline_times_out(scene: Scene) -> None:
    scene.rules = replace(scene.rules, poll_deadline=20.0)
    scene.service.will_say("a.wav", on_the_way())
    await scene.submitted("a.wav")
    began = anyio.current_time()
    async with scene.worker() as worker:
        await poll_on(scene, worker)
        assert anyio.current_time() - began == pytest.approx(20.0, abs=2.0)
    assert scene.states() == {"a.wav": FileState.TIMED_OUT}
    assert scene.row("a.wav").error_code == "deadline"


async def test_a_file_that_was_parsed_by_its_deadline_is_partial(scene: Scene) -> None:
    scene.rules = replace(scene.rules, poll_deadline=20.0, settle_at=SettleAt.FLOW)
    scene.service.will_say("a.wav", parsed("text", 5))
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        await poll_on(scene, worker)
    assert scene.states() == {"a.wav": FileState.PARTIAL}
    assert contents(scene, "a.wav") == "text"


async def test_a_file_is_asked_for_once_more_when_its_deadline_passed_unseen(scene: Scene) -> None:
    scene.rules = replace(scene.rules, poll_deadline=20.0)
    await scene.submitted("a.wav")
    scene.service.taken[0].replies.popleft()  # ready by now
    await anyio.sleep(3600.0)
    async with scene.worker() as worker:
        await worker.poll()
    assert scene.states() == {"a.wav": FileState.SUCCEEDED}


async def test_calls_that_fail_until_the_deadline_time_the_file_out(scene: Scene) -> None:
    scene.rules = replace(scene.rules, poll_deadline=20.0)
    await scene.submitted("a.wav")
    scene.service.meet("ask", *["broken"] * 100)
    async with scene.worker() as worker:
        await poll_on(scene, worker)
    row = scene.row("a.wav")
    assert (row.state, row.error_code) == ("timed_out", "deadline")
    assert "HTTP 500" in row.error_message


# --- calls that go wrong ---


@pytest.mark.parametrize("trouble", ["refused", "broken", "unreachable"])
async def test_a_call_that_fails_is_made_again(scene: Scene, trouble) -> None:
    await scene.submitted("a.wav")
    scene.service.meet("ask", trouble)
    async with scene.worker() as worker:
        await poll_on(scene, worker)
    assert scene.states() == {"a.wav": FileState.SUCCEEDED}
    assert scene.story("a.wav").count("poll_failed") == 1
    assert scene.service.calls["ask"] == 3
    assert scene.row("a.wav").failures == 0


async def test_a_fleet_that_reaches_nobody_rests_and_times_no_file_out(scene: Scene) -> None:
    scene.rules = replace(scene.rules, poll_deadline=5.0)
    await scene.submitted("a.wav")
    scene.service.meet("ask", *["unreachable"] * 100)
    began = anyio.current_time()
    async with scene.worker() as worker:
        while not scene.frozen():
            await anyio.sleep(0.5)
            await worker.poll()
        assert anyio.current_time() - began >= OUT_OF_REACH_AFTER
    assert scene.frozen().keys() == {"upload", "status"}
    assert scene.states() == {"a.wav": FileState.POLLING}


async def test_a_run_that_reaches_nobody_ends_once_its_patience_is_over(scene: Scene) -> None:
    scene.rules = replace(scene.rules, unreachable_after=30.0)
    await scene.submitted("a.wav", crew=RUN)
    scene.service.meet("ask", *["unreachable"] * 100)
    async with scene.worker(crew=RUN) as worker:
        await poll_on(scene, worker)
    assert scene.states() == {"a.wav": FileState.FAILED}
    assert scene.row("a.wav").error_code == "service_unavailable"


@pytest.mark.parametrize(
    ("trouble", "held"), [("throttled", {"status"}), ("overloaded", {"upload", "status"})]
)
async def test_a_busy_service_is_asked_again_when_it_wants(scene: Scene, trouble, held) -> None:
    await scene.submitted("a.wav", "b.wav")
    scene.service.meet("ask", trouble)
    await anyio.sleep(5.0)
    async with scene.worker() as worker:
        wait = await worker.poll()
        assert scene.frozen().keys() == held
        assert wait == pytest.approx(RETRY_AFTER, abs=1.0)
        assert scene.row("a.wav").failures == 0
        asked = scene.service.calls["ask"]
        await anyio.sleep(wait)
        await worker.poll()
        assert scene.service.calls["ask"] > asked
        for name in ("a.wav", "b.wav"):
            await poll_on(scene, worker, name)
    assert set(scene.states().values()) == {FileState.SUCCEEDED}
    assert scene.frozen() == {}


async def test_after_a_freeze_one_call_finds_out_whether_it_is_over(scene: Scene) -> None:
    await scene.submitted("a.wav", "b.wav", "c.wav")
    scene.store.freeze(PROFILE, ["status"], 10.0, "429")
    scene.service.meet("ask", "throttled")
    await anyio.sleep(10.0)
    async with scene.worker() as worker:
        await worker.poll()
    assert scene.service.calls["ask"] == 1
    assert scene.store.strikes(PROFILE, "status") == 2


async def test_a_profile_that_is_frozen_or_paused_is_not_asked(scene: Scene) -> None:
    await scene.submitted("a.wav")
    async with scene.worker() as worker:
        scene.store.freeze(PROFILE, ["status"], 60.0, "429")
        assert await worker.poll() == pytest.approx(60.0, abs=1.0)
        scene.store.pause(PROFILE, "401")
        await anyio.sleep(60.0)
        await worker.poll()
    assert scene.service.calls["ask"] == 0


@pytest.mark.parametrize(
    ("trial", "paused", "failed_calls"), [("unauthorized", [PROFILE], 0), ("", [], 1)]
)
async def test_a_call_that_is_refused_for_its_credentials_is_tried_by_a_dialog(
    scene: Scene, trial, paused, failed_calls
) -> None:
    await scene.submitted("a.wav")
    scene.service.meet("ask", "unauthorized")
    scene.service.meet("open", trial)
    await anyio.sleep(5.0)
    async with scene.worker() as worker:
        await worker.poll()
    assert scene.store.paused() == paused
    assert scene.states() == {"a.wav": FileState.POLLING}
    assert scene.story("a.wav").count("poll_failed") == failed_calls


async def test_refused_credentials_end_a_run(scene: Scene) -> None:
    await scene.submitted("a.wav", crew=RUN)
    scene.service.meet("ask", "moved")
    await anyio.sleep(5.0)
    async with scene.worker(crew=RUN) as worker:
        await worker.poll()
    assert scene.row("a.wav").error_code == "redirected"
    assert scene.states() == {"a.wav": FileState.FAILED}


async def test_what_a_redirect_ended_is_asked_about_by_a_retry_and_never_uploaded_again(
    scene: Scene,
) -> None:
    for name in ("a.wav", "b.wav"):
        scene.service.will_say(name, parsed("text"))
        scene.service.meet("ask", "moved")
        scene.service.meanwhile("ask", lambda: anyio.sleep(0.5))  # both calls are under way
    batch = await scene.submitted("a.wav", "b.wav", crew=RUN)
    await anyio.sleep(5.0)
    async with scene.worker(crew=RUN) as worker:
        await worker.poll()
        assert set(scene.states().values()) == {FileState.FAILED}
        assert len(scene.events.said("files_failed")) == 1
        assert scene.store.retry(batch, [FileState.FAILED], RUN) == 2
        await anyio.sleep(5.0)
        await worker.poll()
    assert set(scene.states().values()) == {FileState.SUCCEEDED}
    assert scene.uploads("a.wav") == scene.uploads("b.wav") == ["accepted"]


# --- somebody interferes ---


async def test_an_answer_after_the_lease_was_lost_is_the_other_s_to_write(scene: Scene) -> None:
    scene.service.will_say("a.wav", parsed("text"))
    await scene.submitted("a.wav")
    await anyio.sleep(5.0)
    async with scene.worker() as worker:
        scene.service.meanwhile("ask", lambda: scene.lose_leases(Lane.POLL))
        await worker.poll()
    assert scene.states() == {"a.wav": FileState.POLLING}
    assert contents(scene, "a.wav") is None


async def test_a_batch_that_is_cancelled_in_flight_stays_cancelled(scene: Scene) -> None:
    scene.service.will_say("a.wav", parsed("text"))
    batch = await scene.submitted("a.wav")
    await anyio.sleep(5.0)
    async with scene.worker() as worker:
        scene.service.meanwhile("ask", lambda: scene.store.cancel(batch))
        await worker.poll()
    assert scene.states() == {"a.wav": FileState.CANCELLED}
    assert contents(scene, "a.wav") is None


async def test_a_drain_records_what_is_answered_and_gives_back_the_rest(scene: Scene) -> None:
    scene.service.will_say("a.wav", parsed("text"))
    await scene.submitted("a.wav", "b.wav")
    await anyio.sleep(5.0)
    async with scene.worker() as worker:
        scene.service.meanwhile("ask", worker.stop.set, anyio.sleep_forever)
        await worker.poll()
    assert scene.states() == {"a.wav": FileState.SUCCEEDED, "b.wav": FileState.POLLING}
    assert scene.row("b.wav").lease_token is None
    assert scene.due_in("b.wav") <= 0


async def test_a_database_that_goes_away_in_the_middle_costs_no_answer(scene: Scene) -> None:
    scene.service.will_say("a.wav", parsed("text"))
    await scene.submitted("a.wav")
    await anyio.sleep(5.0)
    async with scene.worker() as worker:

        def away() -> None:
            worker.database.away, worker.database.lost = 5, 1

        scene.service.meanwhile("ask", away)
        await worker.poll()
    assert contents(scene, "a.wav") == "text"
    assert scene.service.calls["ask"] == 1
    assert scene.story("a.wav").count("succeeded") == 1


async def test_leases_are_renewed_while_an_answer_is_slow(scene: Scene) -> None:
    scene.service.will_say("a.wav", parsed("text"))
    await scene.submitted("a.wav")
    await anyio.sleep(5.0)
    async with scene.worker() as worker:

        async def slow() -> None:
            await anyio.sleep(300.0)
            assert not Bench(scene.store).claim(Lane.POLL).files

        scene.service.meanwhile("ask", slow)
        await worker.poll()
    assert scene.states() == {"a.wav": FileState.SUCCEEDED}


async def test_a_polling_file_without_an_id_is_submitted_again(scene: Scene) -> None:
    await scene.submitted("a.wav")
    Bench(scene.store).execute("UPDATE files SET chatflow_file_id = NULL")
    await anyio.sleep(5.0)
    async with scene.worker() as worker:
        await worker.poll()
    assert scene.states() == {"a.wav": FileState.QUEUED}
    assert "no_file_id" in scene.story("a.wav")
    assert scene.service.calls["ask"] == 0


async def test_status_calls_keep_to_the_rate(scene: Scene) -> None:
    scene.rules = replace(scene.rules, poll_rate_limit=1.0)
    await scene.submitted("a.wav", "b.wav", "c.wav")
    await anyio.sleep(5.0)
    began = anyio.current_time()
    async with scene.worker() as worker:
        await worker.poll()
    assert scene.service.calls["ask"] >= 3
    assert anyio.current_time() - began >= scene.service.calls["ask"] - 1.1


async def test_what_polls_have_taught_is_there_for_the_next_file(scene: Scene) -> None:
    scene.service.will_say("a.wav", parsed("text"))
    await scene.submitted("a.wav")
    await anyio.sleep(40.0)
    async with scene.worker() as worker:
        await worker.poll()
        await worker.context.learning.share(everything=True)
    (kind,) = scene.store.sketches(PROFILE)
    assert (kind.category, kind.format) == ("Audio", "wav")
