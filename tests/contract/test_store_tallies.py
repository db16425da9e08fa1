"""What metrics tell from the database alone, whoever did it."""

from tests.contract.bench import PROFILE, Bench
from worker.adapters.database import SqlStore
from worker.core.model.files import ErrorNote, UploadResult, UploadState
from worker.core.model.fleet import FileKind, Observation
from worker.core.verdicts import Requeued, StillPolling


def test_times_to_ready_are_told_by_category(bench: Bench):
    for size, seconds in ((1, 4.0), (2, 4.0)):
        kind = FileKind("Audio", "wav", size)
        bench.store.learn(PROFILE, [Observation(kind, seconds, seconds)] * 50)
    told = bench.store.overview().ready_times
    assert set(told) == {(PROFILE, "Audio", "0.5"), (PROFILE, "Audio", "0.95")}
    assert all(3 < seconds < 5 for seconds in told.values())


def test_uploads_with_a_lost_reply_are_counted_for_a_day(bench: Bench):
    bench.batch(2)
    one, two = bench.claim().files
    bench.send([one, two])
    lost = UploadResult(bench.uploads[one.id], UploadState.UNKNOWN)
    bench.store.record([Requeued(one.id, one.token, wait=5.0, upload=lost)])
    assert bench.store.overview().unknown_uploads == {PROFILE: 1}
    bench.outlive("batches", "created_at")
    assert bench.store.overview().unknown_uploads == {}


def test_files_that_are_tried_again_tell_their_cause(bench: Bench):
    _, files = bench.polling(2)
    bench.store.record(
        [
            StillPolling(
                file.id, file.token, wait=9.0, error=ErrorNote("service_fault", "500"), failures=1
            )
            for file in files
        ]
    )
    assert bench.store.overview().retrying == {(PROFILE, "service_fault"): 2}


def test_firings_are_in_time_or_late(store: SqlStore):
    now = store.now()
    assert store.fire("nightly", now - 86_400)
    assert store.fire("nightly", now - 5)
    assert store.overview().firings == {("nightly", "on_time"): 1, ("nightly", "late"): 1}
    assert store.overview().ticked_ago is None
    assert store.lead("a", 0.0)
    assert 0 <= (store.overview().ticked_ago or 0.0) < 30
