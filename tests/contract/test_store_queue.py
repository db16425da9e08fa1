from uuid import uuid4

import pytest

from tests.contract.bench import CREW, PROFILE, Bench, done
from worker.core.leases import ALONE_AFTER, POISON_AFTER
from worker.core.lifecycle import FileState, Lane
from worker.core.model.files import (
    ErrorNote,
    LedgerEntry,
    PolledFile,
    Sending,
    UploadResult,
    UploadState,
)
from worker.core.model.ids import BatchId, FileId, LeaseToken, UploadId, run_crew
from worker.core.model.wire import Contents
from worker.core.verdicts import Ended, Requeued, StillPolling


def queued(file, wait=0.0, **more):
    return Requeued(file.id, file.token, wait=wait, **more)


def unknown(bench, file, **more):
    upload = UploadResult(bench.uploads[file.id], UploadState.UNKNOWN)
    return queued(file, upload=upload, **more)


# --- claims --------------------------------------------------------------------------------------


def test_a_claim_takes_by_turn_over_all_batches(bench: Bench):
    bench.batch(5)
    small = bench.batch(2)
    claimed = bench.claim(limit=4)
    assert [file.source for file in claimed.files] == ["/in/00000.wav"] * 2 + ["/in/00001.wav"] * 2
    assert sum(file.batch_id == small for file in claimed.files) == 2
    assert {file.token for file in claimed.files} == {claimed.token}
    assert {line.state for line in bench.store.results(small)} == {FileState.SUBMITTING}


def test_a_claimed_file_tells_when_it_was_handed_in(bench: Bench):
    before = bench.store.now()
    _, claimed = bench.polling(1)
    assert before - 1 <= claimed[0].handed_in_at <= bench.store.now() + 1


def test_what_is_claimed_is_not_claimed_again(bench: Bench):
    bench.batch(3)
    first, second = bench.claim(limit=2), bench.claim(limit=2)
    assert not {file.id for file in first.files} & {file.id for file in second.files}
    third = bench.claim()
    assert third.files == ()
    assert third.token is None
    assert 50 < third.next_wait <= 60


def test_a_claim_says_come_again_and_an_empty_lane_says_never(bench: Bench):
    bench.batch(2)
    assert bench.claim(limit=1).next_wait == 0
    assert bench.claim(limit=5).next_wait == 0
    assert bench.claim(limit=5).next_wait == pytest.approx(60, abs=10)
    assert bench.claim(Lane.POLL).next_wait is None
    assert bench.claim(crew="nobody", profile="nobody").next_wait is None


def test_an_embedded_run_sees_only_its_batch_and_the_fleet_never_sees_it(bench: Bench):
    own = BatchId(uuid4())
    crew = run_crew(own)
    bench.batch(1)
    hidden = bench.batch(1, crew=crew)
    assert {file.batch_id for file in bench.claim(crew=crew).files} == {hidden}
    assert hidden not in {file.batch_id for file in bench.claim().files}


def test_low_turns_that_back_off_hide_nothing(bench: Bench):
    bench.batch(20)
    early = bench.claim(limit=10)
    bench.store.record([queued(file, wait=300) for file in early.files])
    assert [file.source for file in bench.claim(limit=2).files] == [
        "/in/00010.wav",
        "/in/00011.wav",
    ]
    bench.outlive("files", "next_at", "lane = 'submit_later' AND lease_token IS NULL")
    assert [file.source for file in bench.claim(limit=2).files] == [
        "/in/00000.wav",
        "/in/00001.wav",
    ]


def test_polls_are_claimed_when_they_are_due(bench: Bench):
    bench.batch(3)
    files = bench.claim().files
    bench.send(files)
    bench.store.record(
        [bench.accepted(file, wait=w) for file, w in zip(files, (0, 500, 90), strict=True)]
    )
    claim = bench.claim(Lane.POLL)
    assert [file.id for file in claim.files] == [files[0].id]
    assert isinstance(claim.files[0], PolledFile)
    assert 55 < bench.claim(Lane.POLL).next_wait <= 60


def test_a_polled_file_carries_what_the_next_step_needs(bench: Bench):
    batch = bench.batch(1)
    bench.submit(size=7)
    (file,) = bench.claim(Lane.POLL).files
    assert (file.batch_id, file.name, file.size) == (batch, "00000.wav", 7)
    assert (file.category, file.service_status) == ("Audio", 1)
    assert file.chatflow_file_id == f"cf-{bench.uploads[file.id]}"
    assert (file.attempts_used, file.failures, file.polls, file.deaths) == (1, 0, 0, 0)
    assert (file.expired, file.parsed) == (False, False)
    assert 0 <= file.age < 60
    waiting = StillPolling(file.id, file.token, wait=0, failures=2, status=5,
        contents=Contents("early", None, None),
    )  # fmt: skip
    bench.store.record([waiting])
    (again,) = bench.claim(Lane.POLL).files
    assert (again.polls, again.failures, again.parsed, again.service_status) == (1, 2, True, 5)
    bench.store.record([Ended(again.id, again.token, FileState.PARTIAL)])
    (line,) = bench.store.results(batch)
    assert (line.parse_content, line.status, line.polls) == ("early", 5, 1)


def test_the_deadline_is_the_databases(bench: Bench):
    bench.batch(1)
    bench.submit(deadline=0.0)
    (file,) = bench.claim(Lane.POLL).files
    assert file.expired is True


# --- leases and deaths ---------------------------------------------------------------------------


def test_a_lost_lease_is_taken_up_and_counts_a_death(bench: Bench):
    bench.batch(1)
    (lost,) = bench.claim().files
    bench.expire_leases()
    (found,) = bench.claim().files
    assert found.id == lost.id
    assert found.token != lost.token
    assert found.deaths == 1
    assert bench.store.record([Ended(lost.id, lost.token, FileState.FAILED)]) == set()
    bench.store.record([queued(found)])
    (healed,) = bench.claim().files
    assert healed.deaths == 0


@pytest.mark.parametrize("lane", list(Lane))
def test_files_that_killed_twice_are_claimed_alone_and_at_last_buried(bench: Bench, lane: Lane):
    batch = bench.batch(3)
    if lane is Lane.POLL:
        bench.submit()
    bench.claim(lane, limit=2)
    bench.expire_leases()
    assert {file.deaths for file in bench.claim(lane, limit=2).files} == {1}
    for deaths in range(ALONE_AFTER, POISON_AFTER):
        bench.expire_leases()
        alone = [bench.claim(lane, lease=60) for _ in range(3)]
        risky = [claim for claim in alone if claim.files and claim.files[0].deaths == deaths]
        assert [len(claim.files) for claim in risky] == [1, 1]
        innocent = [claim for claim in alone if claim not in risky]
        for claim in innocent:
            bench.store.hand_back([(file.id, file.token) for file in claim.files])
    bench.expire_leases()
    assert len(bench.claim(lane).files) == 1
    lines = [line for line in bench.store.results(batch) if line.state is FileState.FAILED]
    assert [line.error_code for line in lines] == ["poison", "poison"]
    assert all(line.finished_at for line in lines)


def test_renewed_leases_stay_and_lost_ones_do_not_come_back(bench: Bench):
    bench.batch(2)
    kept, lost = bench.claim(limit=1, lease=1), bench.claim(limit=1, lease=1)
    bench.expire_leases()
    bench.store.renew([kept.token], 60)
    (taken,) = bench.claim().files
    assert taken.id == lost.files[0].id
    bench.store.renew([lost.token], 60)
    assert bench.store.record([queued(lost.files[0])]) == set()
    assert bench.store.record([queued(kept.files[0])]) == {kept.files[0].id}
    bench.store.renew([], 60)
    bench.store.renew([LeaseToken(uuid4())], 60)


def test_renewing_what_was_about_to_be_claimed_keeps_it(bench: Bench):
    bench.batch(2)
    slow = bench.claim(limit=2, lease=1)
    bench.expire_leases()
    (other,) = bench.claim(limit=1).files  # the other one is ready for the next claim now
    bench.store.renew([slow.token], 60)
    assert bench.claim().files == ()
    kept = next(file for file in slow.files if file.id != other.id)
    assert bench.store.record([queued(kept)]) == {kept.id}


def test_handing_back_leaves_no_trace_but_the_story(bench: Bench):
    bench.batch(2)
    claim = bench.claim()
    bench.begin(claim.files)
    bench.store.hand_back([(file.id, file.token) for file in claim.files])
    again = bench.claim()
    assert [file.id for file in again.files] == [file.id for file in claim.files]
    assert {file.deaths for file in again.files} == {0}
    assert {file.deciding_upload.state for file in again.files} == {UploadState.WITHDRAWN}
    bench.store.hand_back([(file.id, file.token) for file in claim.files])
    assert bench.claim().files == ()


def test_handing_back_a_poll_makes_it_due_and_keeps_a_sent_upload(bench: Bench):
    bench.batch(2)
    bench.submit(limit=1)
    (sent,) = bench.claim().files
    bench.send([sent])
    (polled,) = bench.claim(Lane.POLL).files
    bench.store.hand_back([(polled.id, polled.token), (sent.id, sent.token)])
    assert [file.id for file in bench.claim(Lane.POLL).files] == [polled.id]
    (again,) = bench.claim().files
    assert again.deciding_upload == entry(bench.uploads[sent.id], UploadState.SENT)


def entry(upload, state, theirs=None, status=None):
    return LedgerEntry(upload, state, theirs, status, "Audio", 7)


# --- the ledger ----------------------------------------------------------------------------------


def test_only_who_holds_the_file_may_begin_and_send(bench: Bench):
    bench.batch(2)
    old = bench.claim()
    assert len(bench.begin(old.files)) == 2
    intents = [bench.uploads[file.id] for file in old.files]
    bench.expire_leases()
    (new,) = bench.claim(limit=1).files
    assert bench.mark_sent(intents) == {bench.uploads[old.files[1].id]}
    assert bench.begin([old.files[0]]) == []
    assert bench.begin([new]) == [bench.uploads[new.id]]
    assert bench.count("uploads") == 3
    gone = Sending(PROFILE, new.id, UploadId(uuid4()))
    nobodys = Sending(PROFILE, FileId(uuid4()), bench.uploads[new.id])
    assert bench.store.record([], [gone]) == bench.store.record([], [nobodys]) == set()
    assert bench.store.record([]) == set()
    assert bench.store.begin_uploads([]) == set()


def test_a_call_that_is_repeated_after_a_lost_answer_begins_and_marks_once(bench: Bench):
    bench.batch(1)
    files = bench.claim().files
    bench.send(files)
    upload = bench.uploads[files[0].id]
    assert bench.mark_sent([upload]) == {upload}
    assert bench.count("uploads", "state = 'sent'") == 1


def test_an_upload_that_ended_may_not_be_sent(bench: Bench):
    bench.batch(1)
    (file,) = bench.submit()
    assert bench.mark_sent([bench.uploads[file.id]]) == set()


def test_the_claimer_sees_how_the_newest_upload_stands(bench: Bench):
    bench.batch(1)
    files = bench.claim().files
    assert files[0].deciding_upload is None
    bench.send(files)
    bench.expire_leases()
    (found,) = bench.claim().files
    assert found.deciding_upload == entry(bench.uploads[found.id], UploadState.SENT)
    bench.store.record([unknown(bench, found)])
    (again,) = bench.claim().files
    assert again.deciding_upload.state is UploadState.UNKNOWN
    assert again.attempts_used == 1


def test_attempts_are_numbered_and_counted(bench: Bench):
    batch = bench.batch(1)
    for code in ("a", "b"):
        (file,) = bench.claim().files
        bench.send([file])
        refused = UploadResult(
            bench.uploads[file.id], UploadState.REFUSED, error=ErrorNote(code, "no")
        )
        bench.store.record([queued(file, upload=refused, failures=1)])
    (file,) = bench.submit()
    story = bench.store.story(file.id)
    assert [(u.attempt, u.state.value, u.code) for u in story.uploads] == [
        (1, "refused", "a"), (2, "refused", "b"), (3, "accepted", None),
    ]  # fmt: skip
    assert next(bench.store.results(batch)).upload_attempts == 3


def test_an_upload_after_status_three_starts_afresh(bench: Bench):
    _batch, (file,) = bench.polling(1)
    bench.store.record([queued(file, status=3, asked=True)])
    (again,) = bench.claim().files
    first = bench.uploads[again.id]
    assert again.deciding_upload == entry(first, UploadState.ACCEPTED, f"cf-{first}", 3)
    bench.send([again])
    bench.store.record([bench.accepted(again, status=None)])
    (polled,) = bench.claim(Lane.POLL).files
    assert (polled.polls, polled.service_status, polled.attempts_used) == (1, None, 2)
    assert polled.chatflow_file_id == f"cf-{bench.uploads[file.id]}" != f"cf-{first}"


# --- verdicts ------------------------------------------------------------------------------------


def test_a_stale_token_writes_nothing(bench: Bench):
    batch, (file,) = bench.polling(1)
    bench.expire_leases()
    (new,) = bench.claim(Lane.POLL).files
    assert bench.store.record([done(file)]) == set()
    assert bench.count("results") == 0
    assert next(bench.store.results(batch)).state is FileState.POLLING
    assert bench.store.record([done(new)]) == {file.id}


def test_a_lease_that_ran_out_but_was_not_taken_still_records(bench: Bench):
    _, (file,) = bench.polling(1)
    bench.expire_leases()
    assert bench.store.record([done(file)]) == {file.id}


def test_recording_again_after_a_lost_answer_is_seen_as_written_and_writes_nothing(bench: Bench):
    batch = bench.batch(1)
    (file,) = bench.claim().files
    bench.send([file])
    verdict = bench.accepted(file, wait=0)
    assert bench.store.record([verdict]) == {file.id}
    before = bench.store.story(file.id)
    assert bench.store.record([verdict]) == {file.id}
    assert bench.store.story(file.id) == before
    (polled,) = bench.claim(Lane.POLL).files
    assert bench.store.record([done(polled)]) == {file.id}
    assert bench.store.record([done(polled), verdict]) == {file.id}
    assert next(bench.store.results(batch)).upload_attempts == 1


def test_an_acceptance_that_comes_late_is_adopted(bench: Bench):
    batch = bench.batch(1)
    (slow,) = bench.claim().files
    bench.send([slow])
    late = bench.accepted(slow)
    bench.expire_leases()
    (new,) = bench.claim().files
    assert bench.store.record([late]) == {slow.id}
    assert bench.store.record([unknown(bench, new)]) == set()
    (polled,) = bench.claim(Lane.POLL).files
    assert polled.chatflow_file_id == late.chatflow_file_id
    assert polled.attempts_used == 1
    assert next(bench.store.results(batch)).submitted_at is not None


def test_an_upload_already_counted_as_unknown_is_adopted_without_counting_again(bench: Bench):
    bench.batch(1)
    (slow,) = bench.claim().files
    bench.send([slow])
    late = bench.accepted(slow)
    bench.expire_leases()
    (new,) = bench.claim().files
    bench.store.record([unknown(bench, new, wait=300)])
    assert bench.store.record([late]) == {slow.id}
    (polled,) = bench.claim(Lane.POLL).files
    assert polled.attempts_used == 1
    (upload,) = bench.store.story(slow.id).uploads
    assert upload.state is UploadState.ACCEPTED


def test_an_acceptance_that_comes_after_a_newer_upload_began_is_only_kept(bench: Bench):
    bench.batch(1)
    (slow,) = bench.claim().files
    bench.send([slow])
    late = bench.accepted(slow)
    bench.expire_leases()
    (new,) = bench.claim().files
    bench.send([new])
    assert bench.store.record([late]) == set()
    assert bench.store.record([bench.accepted(new)]) == {new.id}
    first, second = bench.store.story(slow.id).uploads
    assert (first.state, second.state) == (UploadState.ACCEPTED, UploadState.ACCEPTED)
    (polled,) = bench.claim(Lane.POLL).files
    assert polled.chatflow_file_id == second.chatflow_file_id


def test_a_newer_upload_that_was_withdrawn_does_not_stand_in_the_way(bench: Bench):
    bench.batch(1)
    (slow,) = bench.claim().files
    bench.send([slow])
    late = bench.accepted(slow)
    bench.expire_leases()
    (new,) = bench.claim().files
    bench.begin([new])
    bench.store.hand_back([(new.id, new.token)])
    assert bench.store.record([late]) == {slow.id}


def test_a_cancelled_file_keeps_what_the_ledger_learns(bench: Bench):
    batch = bench.batch(1)
    (file,) = bench.claim().files
    bench.send([file])
    bench.store.cancel(batch)
    assert bench.store.record([bench.accepted(file)]) == set()
    assert bench.store.story(file.id).uploads[0].state is UploadState.ACCEPTED
    assert bench.store.retry(batch, [FileState.CANCELLED], CREW) == 1
    (polled,) = bench.claim(Lane.POLL).files
    assert polled.chatflow_file_id == f"cf-{bench.uploads[file.id]}"
    assert polled.expired is False


def test_certain_knowledge_is_not_overwritten_by_unknown(bench: Bench):
    bench.batch(1)
    (file,) = bench.submit()
    bench.store.record([unknown(bench, file)])
    assert bench.store.story(file.id).uploads[0].state is UploadState.ACCEPTED


def test_texts_that_do_not_fit_are_cut_and_cleaned(bench: Bench):
    batch = bench.batch(1)
    (file,) = bench.claim().files
    error = ErrorNote("c" * 500, "\x00\ud800" + "m" * 100_000)
    bench.store.record([Ended(file.id, file.token, FileState.FAILED, error=error, status=2**70)])
    (line,) = bench.store.results(batch)
    assert line.error_code == "c" * 64
    assert line.error_message.startswith("\ufffd\ufffdm")
    assert len(line.error_message) == 4000
    assert line.status is None


def test_an_unchanged_poll_leaves_no_event(bench: Bench):
    _, files = bench.polling(3)
    bench.store.record([StillPolling(f.id, f.token, wait=0, status=4) for f in files])
    again = bench.claim(Lane.POLL).files
    last = bench.store.story(again[0].id).events[-1]
    assert (last.event, last.code, last.message) == ("status", "4", "parsing")
    before = bench.count("file_events")
    bench.store.record([StillPolling(f.id, f.token, wait=0, status=4) for f in again])
    assert bench.count("file_events") == before
    assert len(bench.claim(Lane.POLL).files) == 3


def test_an_error_is_forgotten_when_all_is_well_again(bench: Bench):
    batch = bench.batch(1)
    (file,) = bench.claim().files
    bench.store.record([queued(file, error=ErrorNote("service_fault", "500"), failures=1)])
    assert next(bench.store.results(batch)).error_code == "service_fault"
    bench.submit()
    assert next(bench.store.results(batch)).error_code is None


def test_nothing_to_record_is_nothing(bench: Bench):
    assert bench.store.record([]) == set()
    stranger = Ended(uuid4(), LeaseToken(uuid4()), FileState.FAILED)
    assert bench.store.record([stranger]) == set()
    bench.store.hand_back([])


# --- opening again -------------------------------------------------------------------------------


def ended(bench: Bench, state: FileState, status: int | None):
    batch, (file,) = bench.polling(1)
    bench.store.record([Ended(file.id, file.token, state, status=status, asked=True)])
    bench.store.finish([batch])
    return batch


@pytest.mark.parametrize(
    ("state", "status", "lane"),
    [
        (FileState.TIMED_OUT, 4, Lane.POLL),
        (FileState.TIMED_OUT, None, Lane.POLL),
        (FileState.TIMED_OUT, 8, Lane.POLL),
        (FileState.FAILED, 2, Lane.POLL),
        (FileState.FAILED, 3, Lane.SUBMIT),
        (FileState.FAILED, 6, Lane.SUBMIT),
        (FileState.FAILED, 8, Lane.SUBMIT),
        (FileState.PARTIAL, 8, Lane.SUBMIT),
    ],
)
def test_a_retry_polls_on_or_submits_again(
    bench: Bench, state: FileState, status: int | None, lane: Lane
):
    batch = ended(bench, state, status)
    crew = run_crew(batch)
    assert bench.store.retry(batch, [state], crew) == 1
    (file,) = bench.claim(lane, crew=crew).files
    assert (file.attempts_used, file.failures, file.deaths) == (0, 0, 0)
    assert lane is Lane.SUBMIT or not file.expired
    running = bench.store.status(batch)
    assert (running.state.value, running.finished_at, running.crew) == ("running", None, crew)
    assert next(bench.store.results(batch)).upload_attempts == 1


def test_a_retried_file_has_a_fresh_deadline(bench: Bench):
    batch = ended(bench, FileState.TIMED_OUT, 4)
    bench.outlive("files", "deadline_at")
    bench.store.retry(batch, [FileState.TIMED_OUT], CREW)
    (file,) = bench.claim(Lane.POLL).files
    assert file.expired is False


def test_a_retry_takes_only_the_states_asked_for_and_never_what_succeeded(bench: Bench):
    batch, (good, bad) = bench.polling(2)
    bench.store.record([done(good), Ended(bad.id, bad.token, FileState.TIMED_OUT, status=4)])
    assert bench.store.retry(batch, [FileState.SUCCEEDED], CREW) == 0
    assert bench.store.retry(batch, [FileState.FAILED, FileState.QUEUED], CREW) == 0
    assert bench.store.retry(batch, list(FileState), CREW) == 1
    assert bench.store.status(batch).counts == {FileState.SUCCEEDED: 1, FileState.POLLING: 1}


def test_a_rejected_file_is_queued_again(bench: Bench):
    batch = bench.batch(1)
    (file,) = bench.claim().files
    bench.store.record([Ended(file.id, file.token, FileState.REJECTED)])
    assert bench.store.retry(batch, [FileState.REJECTED], CREW) == 1
    assert [again.id for again in bench.claim().files] == [file.id]


def test_handing_over_frees_every_lease(bench: Bench):
    batch, (polled, *_) = bench.polling(2)
    bench.store.add_files(batch, ["/a", "/b"])
    claimed = bench.claim(limit=1)
    crew = run_crew(batch)
    assert bench.store.hand_over(batch, crew) == 4
    assert bench.claim().files == ()
    assert bench.claim(Lane.POLL).files == ()
    assert len(bench.claim(crew=crew).files) == 2
    assert len(bench.claim(Lane.POLL, crew=crew).files) == 2
    assert bench.store.record([done(polled), queued(claimed.files[0])]) == set()
    assert bench.store.status(batch).crew == crew


def test_failing_what_is_open_spares_other_crews(bench: Bench):
    mine = bench.batch(3)
    bench.submit(1)
    other = bench.batch(1, crew=run_crew(BatchId(uuid4())))
    assert bench.store.fail_open(CREW, "credentials_refused", "401") == [mine]
    assert bench.store.status(mine).counts == {FileState.FAILED: 3}
    assert {line.error_code for line in bench.store.results(mine)} == {"credentials_refused"}
    assert bench.store.status(other).counts == {FileState.QUEUED: 1}
    assert bench.store.fail_open(CREW, "x", "y") == []


# --- what is due ---------------------------------------------------------------------------------


def test_due_names_each_crew_and_lane_once(bench: Bench):
    run = BatchId(uuid4())
    bench.batch(3)
    bench.submit(1)
    bench.batch(2, crew=run_crew(run), profile="other")
    due = {(d.profile, d.crew, d.lane): d.wait for d in bench.store.due(0)}
    assert due == {
        (PROFILE, CREW, Lane.SUBMIT): 0,
        (PROFILE, CREW, Lane.POLL): 0,
        ("other", run_crew(run), Lane.SUBMIT): 0,
    }


def test_due_counts_leases_freezes_and_pauses(bench: Bench):
    bench.batch(1)
    bench.claim(lease=100)
    assert bench.store.due(10) == []
    (later,) = bench.store.due(200)
    assert 60 < later.wait <= 100
    bench.store.add_files(later_batch := bench.store.batches()[0].batch_id, ["/more"])
    bench.store.freeze(PROFILE, ["upload"], 150, "429")
    assert bench.store.due(100) == []
    (frozen,) = bench.store.due(200)
    assert 100 < frozen.wait <= 150
    bench.store.pause(PROFILE, "401")
    assert bench.store.due(1000) == []
    bench.store.resume(PROFILE)
    bench.store.cancel(later_batch)
    assert bench.store.due(1000) == []


def test_a_wake_up_is_sent_once(bench: Bench):
    assert bench.store.take_wake(CREW, Lane.POLL, 60) is True
    assert bench.store.take_wake(CREW, Lane.POLL, 60) is False
    assert bench.store.take_wake(CREW, Lane.SUBMIT, 60) is True
    bench.outlive("wakes", "until")
    assert bench.store.take_wake(CREW, Lane.POLL, 60) is True


# --- contents beyond the server's limits ---------------------------------------------------------


def test_contents_too_large_for_the_server_fail_their_file_alone(bench: Bench):
    batch, (one, large, two) = bench.polling(3)
    contents = "'" * 9_000_000
    assert len(bench.store.record([done(one), done(large, contents), done(two)])) == 3
    lines = {line.file_id: line for line in bench.store.results(batch)}
    assert lines[one.id].state is lines[two.id].state is FileState.SUCCEEDED
    if bench.store._database.kind != "mariadb":
        assert lines[large.id].parse_content == contents
        return
    limit = bench.rows("SELECT @@max_allowed_packet AS n")[0].n
    if limit > 2 * len(contents):
        pytest.skip("this server takes more")
    assert (lines[large.id].state, lines[large.id].error_code) == (
        FileState.FAILED, "contents_too_large",
    )  # fmt: skip
    assert bench.store.retry(batch, [FileState.FAILED], CREW) == 1
    assert [file.id for file in bench.claim(Lane.POLL).files] == [large.id]


def test_a_file_that_is_given_back_says_why(bench: Bench):
    bench.batch()
    (file,) = bench.claim().files
    bench.store.hand_back([(file.id, file.token)], ErrorNote("throttled", "a rest was asked for"))
    last = bench.store.story(file.id).events[-1]
    assert (last.event, last.code, last.message) == (
        "handed_back",
        "throttled",
        "a rest was asked for",
    )


def test_a_status_call_that_failed_tells_its_time(bench: Bench):
    _, (file, other) = bench.polling(2)
    busy = ErrorNote("service_busy", "429 Too Many Requests", 0.3)
    bench.store.hand_back([(file.id, file.token)], busy)
    bench.store.hand_back([(other.id, other.token)])
    last = bench.store.story(file.id).events[-1]
    assert (last.event, last.state, last.code, last.seconds) == (
        "handed_back", "polling", "service_busy", 0.3,
    )  # fmt: skip
    assert bench.store.story(other.id).events[-1].event == "polling"


def test_a_story_says_where_an_open_file_waits(bench: Bench):
    batch = bench.batch()
    (file,) = bench.claim(lease=60).files
    held = bench.store.story(file.id).place
    assert (held.held, held.crew) == (True, CREW)
    assert 50 < held.due_at.timestamp() - bench.store.now() <= 60
    bench.store.hand_back([(file.id, file.token)])
    assert not bench.store.story(file.id).place.held
    bench.store.cancel(batch)
    assert bench.store.story(file.id).place is None
