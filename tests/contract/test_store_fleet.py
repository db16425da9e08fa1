"""Gates, budgets, the outbox and the schedules' memory."""

import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tests.contract.bench import PROFILE, Bench, done
from worker.adapters.database import SqlStore
from worker.adapters.database.gates import PROBE_SECONDS
from worker.core.lifecycle import FileState, Lane
from worker.core.model.files import ErrorNote
from worker.core.model.fleet import FileKind, Leftover, Observation, SeenFile
from worker.core.verdicts import Ended, StillPolling

# --- gates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lane", "channel"), [(Lane.SUBMIT, "upload"), (Lane.POLL, "status")])
def test_a_freeze_holds_its_own_lane(bench: Bench, lane: Lane, channel: str):
    bench.batch(2)
    bench.submit(1)
    bench.store.freeze(PROFILE, [channel], 100, "429")
    held = bench.claim(lane)
    assert held.files == ()
    assert 90 < held.next_wait <= 100
    other = Lane.POLL if lane is Lane.SUBMIT else Lane.SUBMIT
    assert len(bench.claim(other).files) == 1


def test_a_frozen_lane_without_work_says_so(bench: Bench):
    bench.store.freeze(PROFILE, ["upload"], 100, "429")
    assert bench.claim().next_wait is None


def test_freezes_of_another_profile_do_not_matter(bench: Bench):
    bench.batch(1)
    bench.store.freeze("other", ["upload", "status"], 100, "503")
    assert len(bench.claim().files) == 1


def test_when_a_freeze_is_over_one_caller_probes_with_one_file(bench: Bench):
    bench.batch(5)
    bench.store.freeze(PROFILE, ["upload"], 100, "429")
    bench.outlive("service_state", "frozen_until")
    probe = bench.claim()
    assert probe.probing is True
    assert len(probe.files) == 1
    second = bench.claim()
    assert (second.files, second.probing) == ((), False)
    assert PROBE_SECONDS - 10 < second.next_wait <= PROBE_SECONDS
    bench.store.thaw(PROFILE, "upload")
    rest = bench.claim()
    assert (len(rest.files), rest.probing) == (4, False)


def test_a_probe_that_is_lost_is_followed_by_another(bench: Bench):
    bench.batch(2)
    bench.store.freeze(PROFILE, ["upload"], 100, "429")
    bench.outlive("service_state", "frozen_until")
    assert bench.claim().probing
    bench.outlive("service_state", "probe_until")
    assert bench.claim().probing


def test_only_the_probes_upload_passes_a_thawing_gate(bench: Bench):
    bench.batch(3)
    early = bench.claim(limit=1).files
    early_upload = bench.begin(early)
    bench.store.freeze(PROFILE, ["upload"], 100, "429")
    assert bench.mark_sent(early_upload) == set()
    bench.outlive("service_state", "frozen_until")
    probe_upload = bench.begin(bench.claim().files)
    assert bench.mark_sent(early_upload + probe_upload) == set(probe_upload)
    bench.store.thaw(PROFILE, "upload")
    assert bench.mark_sent(early_upload) == set(early_upload)


def test_nothing_is_sent_while_the_profile_is_paused(bench: Bench):
    bench.batch(1)
    uploads = bench.begin(bench.claim().files)
    bench.store.pause(PROFILE, "401")
    assert bench.mark_sent(uploads) == set()
    bench.store.resume(PROFILE)
    assert bench.mark_sent(uploads) == set(uploads)


def test_strikes_count_freezes_in_a_row(bench: Bench):
    store = bench.store
    assert store.strikes(PROFILE, "upload") == 0
    assert store.freeze(PROFILE, ["upload"], 100, "429") == ["upload"]
    assert store.freeze(PROFILE, ["upload"], 1, "a call of the same moment") == []
    assert store.strikes(PROFILE, "upload") == 1
    assert 90 < bench_wait(bench) <= 100
    bench.outlive("service_state", "frozen_until")
    assert store.freeze(PROFILE, ["upload", "status"], 100, "503") == ["status"]
    assert store.strikes(PROFILE, "upload") == 2
    assert store.strikes(PROFILE, "status") == 1
    bench.outlive("service_state", "frozen_until")
    store.thaw(PROFILE, "upload")
    assert store.strikes(PROFILE, "upload") == 0


def bench_wait(bench: Bench) -> float:
    bench.batch(1)
    return bench.claim().next_wait or 0.0


def test_a_call_that_went_well_does_not_end_a_freeze_that_was_put_since(bench: Bench):
    bench.batch(1)
    bench.store.freeze(PROFILE, ["upload"], 100, "429")
    bench.store.thaw(PROFILE, "upload")
    assert bench.claim().files == ()


def test_a_paused_profile_is_probed_once_in_a_while(bench: Bench):
    store = bench.store
    bench.batch(1)
    assert store.take_probe(PROFILE, 60) is False
    store.pause(PROFILE, "401")
    store.pause(PROFILE, "403")
    assert store.paused() == [PROFILE]
    assert bench.claim().files == ()
    assert bench.claim().next_wait == 60
    assert bench.claim(Lane.POLL).next_wait is None
    assert store.take_probe(PROFILE, 60) is False  # it was refused a moment ago
    bench.outlive("pauses", "probe_at")
    assert store.take_probe(PROFILE, 60) is True
    assert store.take_probe(PROFILE, 60) is False
    bench.outlive("pauses", "probe_at")
    assert store.take_probe(PROFILE, 60) is True
    store.resume(PROFILE)
    assert store.paused() == []
    assert len(bench.claim().files) == 1


# --- budgets -------------------------------------------------------------------------------------


def test_a_lone_holder_gets_everything(store: SqlStore):
    assert store.share(PROFILE, "a", 0, 8, 60) == 8
    assert store.share(PROFILE, "a", 8, 8, 60) == 8
    assert store.share("other", "b", 0, 3, 60) == 3


def test_a_newcomer_waits_until_the_first_one_shrinks(store: SqlStore):
    assert store.share(PROFILE, "a", 0, 8, 60) == 8
    assert store.share(PROFILE, "b", 0, 8, 60) == 0
    assert store.share(PROFILE, "a", 8, 8, 60) == 8
    assert store.share(PROFILE, "a", 6, 8, 60) == 6
    assert store.share(PROFILE, "b", 0, 8, 60) == 2
    assert store.share(PROFILE, "a", 1, 8, 60) == 4
    assert store.share(PROFILE, "b", 2, 8, 60) == 4


def test_every_place_is_dealt_out(store: SqlStore):
    for _ in range(3):
        shares = [store.share(PROFILE, holder, 0, 8, 60) for holder in "abc"]
    assert sorted(shares) == [2, 3, 3]


def test_more_holders_than_places(store: SqlStore):
    for _ in range(3):
        shares = [store.share(PROFILE, f"h{n}", 0, 2, 60) for n in range(5)]
    assert sum(shares) == 2


def test_a_holder_that_is_gone_frees_its_share(bench: Bench):
    store = bench.store
    assert store.share(PROFILE, "a", 5, 8, 60) == 8
    store.give_up_share(PROFILE, "a")
    assert store.share(PROFILE, "b", 0, 8, 60) == 8
    bench.outlive("slots", "until")
    assert store.share(PROFILE, "c", 0, 8, 60) == 8


def test_a_lowered_ceiling_holds_at_once(store: SqlStore):
    store.share(PROFILE, "a", 0, 8, 60)
    assert store.share(PROFILE, "a", 0, 3, 60) == 3


def test_a_share_is_written_when_it_changes_or_has_been_silent_for_a_third_of_its_time(
    bench: Bench,
):
    def until():
        return bench.rows("SELECT until FROM slots")[0].until

    store = bench.store
    assert store.share(PROFILE, "a", 0, 8, 60) == 8
    said = until()
    assert store.share(PROFILE, "a", 5, 8, 60) == 8
    assert until() == said, "others know all that they need"
    assert store.share(PROFILE, "a", 5, 4, 60) == 4
    assert until() > said
    said = until()
    assert store.share(PROFILE, "a", 3, 4, 100) == 4
    assert until() > said, "less than two thirds of 100 seconds were left"


def test_what_is_read_together_sees_one_clock(store: SqlStore):
    first, second = store.together(lambda: (store.now(), store.now()))
    assert first == second


def test_what_breaks_together_leaves_nothing_open(bench: Bench):
    with pytest.raises(ZeroDivisionError):
        bench.store.together(lambda: bench.store.paused() or 1 / 0)
    assert not bench.store.take_probe(PROFILE, 60)
    first, end = bench.store.now(), time.monotonic() + 10
    while bench.store.now() == first:
        assert time.monotonic() < end, "the clock of the broken one is still read"


def test_a_bucket_gives_one_seconds_calls_and_then_says_when(store: SqlStore):
    granted, wait = store.take(PROFILE, "upload", 5.0, 100)
    assert (granted, wait) == (5, 0.0)
    granted, wait = store.take(PROFILE, "upload", 0.001, 1)
    assert granted == 0
    assert 0 < wait <= 1000


def test_buckets_are_apart(store: SqlStore):
    assert store.take(PROFILE, "upload", 2.0, 2)[0] == 2
    assert store.take(PROFILE, "status", 2.0, 2)[0] == 2
    assert store.take("other", "upload", 2.0, 2)[0] == 2


def test_a_slow_bucket_gives_one(store: SqlStore):
    assert store.take(PROFILE, "upload", 0.1, 5)[0] == 1
    granted, wait = store.take(PROFILE, "upload", 0.1, 5)
    assert granted == 0
    assert 5 < wait <= 10


def test_a_bucket_fills_with_time_but_never_over_its_rim(bench: Bench):
    bench.store.take(PROFILE, "upload", 3.0, 3)
    bench.outlive("buckets", "updated_at")
    assert bench.store.take(PROFILE, "upload", 3.0, 100)[0] == 3


# --- the outbox ----------------------------------------------------------------------------------


@pytest.fixture
def announced(bench: Bench):
    batch = bench.batch(0, notify={"url": "https://example.org/hook"})
    bench.store.finish([batch])
    return batch


def test_a_notification_is_leased(bench: Bench, announced):
    (first,) = bench.store.claim_notifications(5, 60)
    assert first.batch_id == announced
    assert (first.attempts, first.target) == (0, {"url": "https://example.org/hook"})
    assert bench.store.claim_notifications(5, 60) == []
    bench.outlive("outbox", "next_at")
    (again,) = bench.store.claim_notifications(5, 60)
    assert again.message_id == first.message_id
    bench.store.notified(again.id)
    assert bench.count("outbox", "delivered_at IS NOT NULL AND next_at IS NULL") == 1
    bench.store.notify_later(again.id, 0, "a second caller")
    assert bench.store.claim_notifications(5, 60) == []


def test_a_notification_is_tried_again_and_at_last_given_up(bench: Bench, announced):
    (first,) = bench.store.claim_notifications(5, 60)
    bench.store.notify_later(first.id, 0.0, "HTTP 500 \x00")
    (second,) = bench.store.claim_notifications(5, 60)
    assert second.attempts == 1
    bench.store.notify_later(second.id, None, "HTTP 410")
    assert bench.store.claim_notifications(5, 60) == []
    assert bench.store.replay(uuid4()) == 0
    assert bench.store.replay(announced) == 1
    assert bench.store.replay() == 0
    (third,) = bench.store.claim_notifications(5, 60)
    assert third.attempts == 0


def test_a_notification_that_is_delivered_late_is_not_dead(bench: Bench, announced):
    """Two have it in hand, since a lease ran out: one gives it up, the other gets it through."""
    (first,) = bench.store.claim_notifications(5, 60)
    bench.store.notify_later(first.id, None, "HTTP 410")
    bench.store.notified(first.id)
    assert bench.store.undelivered() == []
    assert bench.store.replay() == 0, "it would be delivered again at each end of a lease"
    assert bench.store.claim_notifications(5, 60) == []


def test_a_notification_that_waits_is_not_dead(bench: Bench, announced):
    (first,) = bench.store.claim_notifications(5, 60)
    bench.store.notify_later(first.id, None, "HTTP 410")
    bench.store.notify_later(first.id, 0.0, "HTTP 500")
    (entry,) = bench.store.undelivered()
    assert (entry.due_in, entry.dead_at) == (0.0, None)
    assert bench.store.replay() == 0


def test_a_cancelled_batch_is_announced_too(bench: Bench):
    batch = bench.batch(1, notify={"url": "https://example.org"})
    bench.store.cancel(batch)
    (sent,) = bench.store.claim_notifications(5, 60)
    assert sent.payload["data"]["state"] == "cancelled"
    bench.store.cancel(batch)
    assert bench.count("outbox") == 1


# --- schedules -----------------------------------------------------------------------------------


def test_one_beat_leads(bench: Bench):
    assert bench.store.lead("a", 60) is True
    assert bench.store.lead("b", 60) is False
    assert bench.store.lead("a", 60) is True
    bench.outlive("schedule_leader", "until")
    assert bench.store.lead("b", 60) is True
    assert bench.store.lead("a", 60) is False


def test_a_due_time_fires_once_and_never_backwards(store: SqlStore):
    due = datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp()
    assert store.last_due("nightly") is None
    assert store.fire("nightly", due) is True
    assert store.fire("nightly", due) is False
    assert store.fire("nightly", due - 60) is False
    assert store.last_due("nightly") == due
    assert store.fire("other", due) is True
    assert store.fire("nightly", due + 60.5) is True
    assert store.last_due("nightly") == due + 60.5


def test_files_are_seen_until_they_change(store: SqlStore):
    files = [SeenFile(f"/data/{'x' * 3000}/{n}", n, n) for n in range(1200)]
    assert store.unseen("nightly", iter(files)) == files
    store.remember("nightly", files)
    store.remember("nightly", files[:2])
    assert store.unseen("nightly", files) == []
    changed = [SeenFile(files[0].source, 99, 0, "abc"), SeenFile(files[1].source, 1, 99)]
    assert store.unseen("nightly", changed + files[2:]) == changed
    assert store.unseen("other", files) == files
    store.remember("nightly", changed)
    assert store.unseen("nightly", changed) == []
    assert store.seen_digest("nightly", files[0].source) == "abc"
    assert store.seen_digest("nightly", "/nowhere") is None


def test_succeeded_files_with_a_rule_are_left_over_until_it_is_carried_out(bench: Bench):
    _batch, (good, bad) = bench.polling(2, after="move:/done")
    bench.store.record(
        [done(good), Ended(bad.id, bad.token, FileState.FAILED, error=ErrorNote("x", "y"))]
    )
    _plain, (kept,) = bench.polling(1)
    bench.store.record([done(kept)])
    expected = Leftover(good.id, good.source, "move:/done", 7, "0" * 64)
    assert bench.store.leftovers(10) == [expected]
    assert bench.store.leftovers(10, after=good.id) == []
    bench.store.taken_away(good.id, ErrorNote("not_found", "gone"))
    assert bench.store.leftovers(10) == []
    assert bench.store.story(good.id).events[-1].code == "not_found"
    bench.store.taken_away(good.id)
    assert bench.store.story(good.id).events[-1].code == "not_found"


def test_the_clock_is_the_databases(store: SqlStore):
    first = store.now()
    assert first <= store.now()
    assert datetime.fromtimestamp(first, UTC).year >= 2025


# --- experience ----------------------------------------------------------------------------------


def test_experience_is_shared_by_kind(store: SqlStore):
    wav, pdf = FileKind("Audio", "wav", 3), FileKind("Contract", "pdf", 1)
    assert store.sketches(PROFILE) == {}
    store.learn(PROFILE, [Observation(wav, 2.0, 1.0), Observation(pdf, 5.0, 0.0)])
    store.learn(PROFILE, [Observation(wav, 2.0, 1.0)])
    store.learn("other", [Observation(wav, 2.0, 1.0)])
    known = store.sketches(PROFILE)
    assert set(known) == {wav, pdf}
    assert known[wav].total > known[pdf].total > 0
    store.learn(PROFILE, [])


def test_the_age_at_the_last_question_is_known(bench: Bench):
    _, (file,) = bench.polling(1)
    assert file.asked_age == 0
    bench.outlive("files", "submitted_at")
    bench.store.record([StillPolling(file.id, file.token, wait=0)])
    (again,) = bench.claim(Lane.POLL).files
    assert 1e6 < again.asked_age <= again.age
