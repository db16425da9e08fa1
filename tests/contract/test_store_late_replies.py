"""A reply that comes after its worker's lease was lost, whatever others have begun meanwhile."""

from tests.contract.bench import PROFILE, Bench
from worker.core.lifecycle import FileState, Lane
from worker.core.model import ErrorNote, Sending, UploadResult, UploadState, Verdict


def refused(bench: Bench, file) -> Verdict:
    error = ErrorNote("upload_refused", "no")
    result = UploadResult(bench.uploads[file.id], UploadState.REFUSED, error=error)
    return Verdict(
        file.id, file.token, FileState.QUEUED, wait=0.0, upload=result, counts_attempt=True
    )


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


def test_an_acceptance_counts_when_the_newer_upload_came_to_nothing(bench: Bench):
    late, new = sent_by_a_worker_that_lost_its_lease(bench)
    bench.send([new])
    assert bench.store.record([late]) == set()
    assert bench.store.record([refused(bench, new)]) == {new.id}
    (again,) = bench.claim().files
    assert again.last_upload is not None
    assert again.last_upload.state is UploadState.ACCEPTED
    assert again.last_upload.chatflow_file_id == late.chatflow_file_id
    assert again.last_upload.service_status is None


def test_an_upload_whose_end_nobody_told_is_looked_at_first(bench: Bench):
    late, new = sent_by_a_worker_that_lost_its_lease(bench)
    bench.send([new])
    assert bench.store.record([late]) == set()
    bench.expire_leases()
    (again,) = bench.claim().files
    assert again.last_upload is not None
    assert again.last_upload.state is UploadState.SENT
