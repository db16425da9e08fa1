"""A reply that comes after its worker's lease was lost, whatever others have begun meanwhile."""

from tests.contract.bench import CREW, PROFILE, Bench
from worker.core.lifecycle import FileEventName, FileState, Lane
from worker.core.model.files import ErrorNote, Sending, UploadResult, UploadState
from worker.core.verdicts import Ended, Requeued, Verdict


def refused(bench: Bench, file) -> Verdict:
    error = ErrorNote("upload_refused", "no")
    result = UploadResult(bench.uploads[file.id], UploadState.REFUSED, error=error)
    return Requeued(file.id, file.token, wait=0.0, upload=result)


def sent_by_a_worker_that_lost_its_lease(bench: Bench):
    bench.batch(1)
    (slow,) = bench.claim().files
    bench.send([slow])
    late = bench.accepted(slow)
    bench.expire_leases()
    (new,) = bench.claim().files
    return late, new


def test_an_upload_that_is_only_meant_gives_way_to_an_acceptance(bench: Bench):
    late, new = sent_by_a_worker_that_lost_its_lease(bench)
    meant = bench.begin([new])
    assert bench.store.record([late]) == {new.id}
    assert bench.mark_sent(meant) == set()
    assert bench.store.record([refused(bench, new)]) == set()
    (polled,) = bench.claim(Lane.POLL).files
    assert polled.chatflow_file_id == late.chatflow_file_id
    states = [upload.state for upload in bench.store.story(new.id).uploads]
    assert states == [UploadState.ACCEPTED, UploadState.WITHDRAWN]


def test_an_acceptance_in_the_same_transaction_comes_before_the_upload_meant_instead(bench: Bench):
    late, new = sent_by_a_worker_that_lost_its_lease(bench)
    (meant,) = bench.begin([new])
    bench.batch(1)
    other = bench.claim().files
    (going,) = bench.begin(other)
    sending = [Sending(PROFILE, new.id, meant), Sending(PROFILE, other[0].id, going)]
    assert bench.store.record([late], sending) == {new.id, going}
    states = [upload.state for upload in bench.store.story(new.id).uploads]
    assert states == [UploadState.ACCEPTED, UploadState.WITHDRAWN]
    assert [u.state for u in bench.store.story(other[0].id).uploads] == [UploadState.SENT]


def test_a_verdict_that_is_told_again_holds_up_no_upload_of_a_later_hold(bench: Bench):
    bench.batch(1)
    (file,) = bench.claim().files
    told = Requeued(file.id, file.token, 0.0, ErrorNote("source_away", "away"))
    bench.store.record([told])
    (again,) = bench.claim().files
    (meant,) = bench.begin([again])
    done = bench.store.record([told], [Sending(PROFILE, again.id, meant)])
    assert done == {file.id, meant}


def test_an_acceptance_counts_when_the_newer_upload_came_to_nothing(bench: Bench):
    late, new = sent_by_a_worker_that_lost_its_lease(bench)
    bench.send([new])
    assert bench.store.record([late]) == set()
    assert bench.store.record([refused(bench, new)]) == {new.id}
    (again,) = bench.claim().files
    assert again.deciding_upload is not None
    assert again.deciding_upload.state is UploadState.ACCEPTED
    assert again.deciding_upload.chatflow_file_id == late.chatflow_file_id
    assert again.deciding_upload.service_status is None


def test_an_upload_whose_end_nobody_told_is_looked_at_first(bench: Bench):
    late, new = sent_by_a_worker_that_lost_its_lease(bench)
    bench.send([new])
    assert bench.store.record([late]) == set()
    bench.expire_leases()
    (again,) = bench.claim().files
    assert again.deciding_upload is not None
    assert again.deciding_upload.state is UploadState.SENT


def test_a_cancelled_upload_that_is_under_way_is_waited_for_and_not_made_again(bench: Bench):
    batch = bench.batch(2)
    slow, idle = bench.claim().files
    bench.send([slow])
    late = bench.accepted(slow)
    bench.store.cancel(batch)
    assert bench.store.retry(batch, [FileState.CANCELLED], CREW) == 2
    claim = bench.claim()
    assert [file.id for file in claim.files] == [idle.id]
    assert bench.store.record([late]) == {slow.id}
    (polled,) = bench.claim(Lane.POLL).files
    assert polled.chatflow_file_id == late.chatflow_file_id
    assert [upload.state for upload in bench.store.story(slow.id).uploads] == [UploadState.ACCEPTED]


def test_two_words_on_one_upload_in_one_transaction_are_judged_in_turn(bench: Bench):
    bench.batch(1)
    (slow,) = bench.claim().files
    bench.send([slow])
    bench.expire_leases()
    (new,) = bench.claim().files
    unsent, unknown = (
        UploadResult(bench.uploads[new.id], end)
        for end in (UploadState.WITHDRAWN, UploadState.UNKNOWN)
    )
    late = Requeued(slow.id, slow.token, wait=0.0, upload=unsent)
    bench.store.record([late, Requeued(new.id, new.token, wait=0.0, upload=unknown)])
    (told,) = bench.store.story(new.id).uploads
    assert told.state is UploadState.WITHDRAWN
    assert bench.count("files", "upload_attempts = 0 AND attempts_used = 0") == 1


def test_no_file_ends_for_an_upload_whose_end_was_told_meanwhile(bench: Bench):
    late, new = sent_by_a_worker_that_lost_its_lease(bench)
    no = UploadResult(late.upload_id, UploadState.REFUSED)
    assert bench.store.record([Requeued(late.file, late.token, wait=0.0, upload=no)]) == set()
    unknown = UploadResult(late.upload_id, UploadState.UNKNOWN)
    lost = Ended(new.id, new.token, FileState.FAILED, upload=unknown)
    assert bench.store.record([lost]) == set()
    (again,) = bench.claim().files
    assert again.deciding_upload.state is UploadState.REFUSED
    assert (again.attempts_used, again.deaths) == (1, 1)
    events = [event.event for event in bench.store.story(new.id).events]
    assert events[-2:] == [FileEventName.HANDED_BACK, FileEventName.SUBMITTING]


def counted(bench: Bench) -> int:
    return next(n for n in range(9) if bench.count("files", f"upload_attempts = {n}"))


def test_an_attempt_is_counted_once_whoever_tells_of_it(bench: Bench):
    late, new = sent_by_a_worker_that_lost_its_lease(bench)
    unknown = UploadResult(late.upload_id, UploadState.UNKNOWN)
    assert bench.store.record([Requeued(late.file, late.token, wait=0.0, upload=unknown)]) == set()
    assert counted(bench) == 1
    bench.store.record([Requeued(new.id, new.token, wait=0.0, upload=unknown)])
    assert counted(bench) == 1
    bench.store.record([late])
    assert counted(bench) == 1


def test_an_attempt_is_counted_when_what_was_taken_for_unsent_was_accepted(bench: Bench):
    late, new = sent_by_a_worker_that_lost_its_lease(bench)
    unsent = UploadResult(late.upload_id, UploadState.WITHDRAWN)
    bench.store.record([Requeued(new.id, new.token, wait=0.0, upload=unsent)])
    assert counted(bench) == 0
    bench.store.record([late])
    assert counted(bench) == 1
