"""Who attends to a batch, what went wrong in it, what was uploaded and how long it will take."""

import pytest

from tests.contract.bench import CREW, PROFILE, Bench
from worker.adapters.database import SqlStore, run_lock
from worker.core.lifecycle import FileState
from worker.core.model.files import ErrorNote, UploadResult, UploadState
from worker.core.model.fleet import FileKind, Observation
from worker.core.model.ids import run_crew
from worker.core.seen import UploadCounts
from worker.core.verdicts import Ended, Requeued
from worker.errors import RunInProgress


def test_who_is_at_work_is_believed_for_a_while(bench: Bench):
    batch = bench.batch()
    assert bench.store.details(batch).attended_by == "nobody"
    bench.store.attend("a", None, "host:1", 60)
    bench.store.attend("b", None, "host:2", 60)
    bench.store.attend("a", None, "host:1", 60)
    details = bench.store.details(batch)
    assert (details.attended_by, details.workers) == ("workers", 2)
    assert [one.place for one in bench.store.attendants()] == ["host:1", "host:2"]
    bench.outlive("attendants", "until", "holder = 'a'")
    bench.store.leave("b")
    assert bench.store.attendants() == []
    assert bench.store.details(batch).attended_by == "nobody"


def test_those_long_gone_are_forgotten(bench: Bench):
    bench.store.attend("a", None, "host:1", 60)
    bench.outlive("attendants", "until")
    bench.store.attend("b", None, "host:2", 60)
    assert bench.count("attendants") == 1


def test_a_run_attends_to_its_own_batch_while_it_holds_the_lock(bench: Bench, database_url: str):
    batch = bench.batch()
    bench.store.hand_over(batch, run_crew(batch))
    bench.store.attend("run", run_crew(batch), "host:1", 60)
    bench.store.attend("a", None, "host:2", 60)
    assert bench.store.details(batch).attended_by == "nobody"
    with run_lock(database_url):
        assert bench.store.details(batch).attended_by == "run"
        assert bench.store.details(bench.batch()).attended_by == "workers"
        with pytest.raises(RunInProgress), run_lock(database_url):
            pass
    with run_lock(database_url):
        pass


def test_errors_and_uploads_are_counted(bench: Bench):
    batch = bench.batch(4)
    first, second, third, fourth = bench.submit()
    polled = {file.id: file for file in bench.claim(lane="poll").files}
    failed = polled[first.id]
    bench.store.record(
        [Ended(failed.id, failed.token, FileState.FAILED, error=ErrorNote("parse_failed", "no"))]
    )
    bench.store.record(
        [
            Requeued(second.id, polled[second.id].token, wait=0.0, status=3),
            Requeued(third.id, polled[third.id].token, wait=0.0, status=3),
        ]
    )
    again = {file.id: file for file in bench.claim().files}
    bench.send(again.values())
    refused = UploadResult(bench.uploads[third.id], UploadState.REFUSED)
    bench.store.record(
        [
            bench.accepted(again[second.id]),
            Requeued(third.id, again[third.id].token, wait=9.0, upload=refused),
        ]
    )
    details = bench.store.details(batch)
    assert details.errors == {"parse_failed": 1}
    assert details.uploads == UploadCounts(accepted=5, refused=1, unknown=0, repeated=1)
    assert details.flight is not None
    assert details.flight.count == 2
    assert 0 < details.flight.deadline <= 3600
    assert fourth.id in polled


def test_the_time_left_knows_the_past_and_the_deadline(bench: Bench):
    batch, files = bench.polling(2, sealed=True)
    kind = FileKind("Audio", "wav", 1)
    bench.store.learn(PROFILE, [Observation(kind, 10.0, 10.0)] * 50)
    low, high = bench.store.details(batch).eta
    assert 5 < low <= high < 11
    bench.outlive("files", "submitted_at")
    low, high = bench.store.details(batch).eta
    assert low == 0
    assert 3000 < high <= 3600
    bench.store.cancel(batch)
    assert bench.store.details(batch).eta is None
    assert len(files) == 2


def test_what_holds_a_batch_has_an_end(store: SqlStore, bench: Bench):
    batch = bench.batch()
    assert store.details(batch).held_for is None
    store.freeze(PROFILE, ["upload"], 60.0, "429")
    held = store.details(batch).held_for
    assert held is not None
    assert 50 < held <= 60
    assert CREW == PROFILE


def test_a_file_that_takes_long_for_its_kind_is_named(bench: Bench):
    batch, files = bench.polling(2, sealed=True)
    assert bench.store.details(batch).slow == ()
    bench.store.learn(PROFILE, [Observation(FileKind("Audio", "wav", 1), 10.0, 10.0)] * 50)
    assert bench.store.details(batch).slow == ()
    bench.outlive("files", "submitted_at", "name = '00001.wav'")
    (slow,) = bench.store.details(batch).slow
    assert (slow.name, slow.kind) == ("00001.wav", "wav")
    assert slow.seconds > slow.usual
    assert slow.file_id == files[1].id
