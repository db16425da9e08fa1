import json
from uuid import uuid4, uuid5

import pytest

from tests.contract.bench import CREW, PROFILE, Bench, done
from worker.adapters.database import SqlStore
from worker.core.lifecycle import BatchState, FileEventName, FileState, Lane
from worker.core.model.batches import BatchOptions, NewBatch
from worker.core.model.files import ErrorNote
from worker.core.model.ids import BatchId, FileId, run_crew
from worker.core.model.wire import Contents
from worker.core.verdicts import Ended, StillPolling
from worker.errors import UnknownBatch, UnknownFile


def test_creating_twice_creates_once(store: SqlStore):
    batch = NewBatch(BatchId(uuid4()), PROFILE, CREW, "nightly")
    assert store.create_batch(batch) is True
    assert store.create_batch(batch) is False
    assert [found.external_key for found in store.batches()] == ["nightly"]


def test_adding_twice_adds_once_and_ids_come_from_batch_and_source(bench: Bench):
    batch = bench.batch(0, sealed=False)
    assert bench.store.add_files(batch, ["/a", "/b", "/a"]) == 2
    assert bench.store.add_files(batch, ["/b", "/c"]) == 1
    files = list(bench.store.results(batch))
    assert [file.source for file in files] == ["/a", "/b", "/c"]
    assert [file.file_id for file in files] == [uuid5(batch, s) for s in ("/a", "/b", "/c")]


def test_files_differ_by_case_accents_and_trailing_blanks(bench: Bench):
    batch = bench.batch(0)
    sources = ["/a", "/A", "/ä", "/a ", "/é.wav", "/e.wav"]
    assert bench.store.add_files(batch, sources) == len(sources)
    assert [file.source for file in bench.store.results(batch)] == sources


def test_external_keys_and_crews_differ_by_case(bench: Bench):
    bench.batch(1, profile="Default", crew=run_crew(BatchId(uuid4())))
    bench.batch(1, profile="DEFAULT", crew="DEFAULT")
    assert not bench.claim().files
    assert len(bench.claim(crew="DEFAULT", profile="DEFAULT").files) == 1


def test_a_name_that_no_database_can_hold_is_cleaned(bench: Bench):
    batch = bench.batch(0)
    assert bench.store.add_files(batch, ["/a\x00b", "/lone\ud800"]) == 2
    assert [f.source for f in bench.store.results(batch)] == ["/a\ufffdb", "/lone\ufffd"]


def test_adding_to_an_unknown_batch_is_refused(store: SqlStore):
    with pytest.raises(UnknownBatch):
        store.add_files(BatchId(uuid4()), ["/a"])


def test_a_batch_finishes_once_sealed_and_only_once(bench: Bench):
    batch = bench.batch(1, sealed=False)
    (file,) = bench.claim().files
    bench.store.record([Ended(file.id, file.token, FileState.REJECTED)])
    assert bench.store.finish([batch]) == []
    assert bench.store.unfinished() == []
    bench.store.seal(batch)
    assert bench.store.unfinished() == [batch]
    assert bench.store.finish([batch, batch]) == [batch]
    assert bench.store.finish([batch]) == []
    status = bench.store.status(batch)
    assert status.state is BatchState.FINISHED
    assert status.finished_at is not None


def test_a_batch_with_an_open_file_does_not_finish(bench: Bench):
    batch = bench.batch(2)
    (first, second) = bench.claim().files
    bench.store.record([Ended(first.id, first.token, FileState.REJECTED)])
    assert bench.store.finish([batch]) == []
    bench.store.record([Ended(second.id, second.token, FileState.REJECTED)])
    assert bench.store.finish([batch]) == [batch]


def test_an_empty_batch_finishes(bench: Bench):
    batch = bench.batch(0)
    assert bench.store.finish([batch]) == [batch]
    assert bench.store.status(batch).total == 0


def test_a_finished_batch_that_gains_a_file_runs_again(bench: Bench):
    batch = bench.batch(0)
    bench.store.finish([batch])
    assert bench.store.add_files(batch, ["/late"]) == 1
    status = bench.store.status(batch)
    assert (status.state, status.finished_at) == (BatchState.RUNNING, None)
    assert [file.source for file in bench.claim().files] == ["/late"]


def test_the_last_part_seals(bench: Bench):
    batch = bench.batch(0, sealed=False)
    bench.store.record_part(batch, 1, 2)
    bench.store.record_part(batch, 1, 2)
    assert bench.store.status(batch).sealed is False
    bench.store.record_part(batch, 0, 2)
    assert bench.store.status(batch).sealed is True


def test_a_cancelled_batch_that_gains_files_late_is_stamped_again_by_the_sweep(bench: Bench):
    batch = bench.batch(1, sealed=False, notify={"task": "done"})
    bench.store.cancel(batch)
    assert bench.store.unfinished() == []
    assert bench.store.add_files(batch, ["/late"]) == 1
    assert bench.store.unfinished() == [], "a hand-in still runs"
    bench.store.seal(batch)
    assert bench.store.unfinished() == [batch]
    assert bench.store.finish(bench.store.unfinished()) == [batch]
    status = bench.store.status(batch)
    assert (status.state, status.total) == (BatchState.CANCELLED, 2)
    assert status.finished_at is not None
    assert bench.store.unfinished() == []
    assert len(bench.store.claim_notifications(10, 60)) == 2, "each end is told of"


def test_a_cancel_that_broke_off_is_ended_by_the_sweep(bench: Bench):
    batch = bench.batch(2)
    bench.store._call_off(batch)
    assert bench.store.unfinished() == []
    bench.store.fail_open(CREW, "x", "y")
    assert bench.store.finish(bench.store.unfinished()) == [batch]
    assert bench.store.status(batch).state is BatchState.CANCELLED


def test_a_notification_is_written_with_the_stamp(bench: Bench):
    batch = bench.batch(2, notify={"task": "done", "queue": "q"}, external_key="k")
    one, two = bench.claim().files
    bench.store.record(
        [
            Ended(one.id, one.token, FileState.REJECTED, error=ErrorNote("empty", "no bytes")),
            Ended(two.id, two.token, FileState.FAILED, error=ErrorNote("x", "y")),
        ]
    )
    assert bench.store.claim_notifications(10, 60) == []
    bench.store.finish([batch])
    (sent,) = bench.store.claim_notifications(10, 60)
    assert sent.target == {"task": "done", "queue": "q"}
    assert sent.payload["type"] == "batch.finished"
    data = sent.payload["data"]
    assert data["batch_id"] == str(batch)
    assert (data["state"], data["total"]) == ("finished", 2)
    assert data["counts"] == {"failed": 1, "rejected": 1}
    assert data["finished_at"] == sent.payload["timestamp"]
    json.dumps(sent.payload)


def test_cancel_ends_every_open_file_whoever_holds_it(bench: Bench):
    batch, (polled, _) = bench.polling(2)
    bench.store.add_files(batch, ["/queued", "/held"])
    (held, *_) = bench.claim(limit=1).files
    assert bench.store.cancel(batch) == 4
    assert bench.store.status(batch).counts == {FileState.CANCELLED: 4}
    assert bench.store.status(batch).state is BatchState.CANCELLED
    assert bench.store.record([done(polled), done(held)]) == set()
    assert bench.store.status(batch).counts == {FileState.CANCELLED: 4}
    assert bench.store.add_files(batch, ["/more"]) == 1
    assert bench.store.status(batch).counts == {FileState.CANCELLED: 5}
    assert bench.store.status(batch).state is BatchState.CANCELLED
    assert bench.claim().files == ()
    assert bench.store.cancel(batch) == 0


def test_cancelling_leaves_what_had_ended(bench: Bench):
    batch, (first, _) = bench.polling(2)
    bench.store.record([done(first)])
    assert bench.store.cancel(batch) == 1
    counts = bench.store.status(batch).counts
    assert counts == {FileState.SUCCEEDED: 1, FileState.CANCELLED: 1}


def test_cancelling_many_files_takes_them_all(bench: Bench):
    batch = bench.batch(2345)
    assert bench.store.cancel(batch) == 2345
    assert bench.store.due(60) == []


def test_a_batch_that_is_being_cancelled_is_not_taken_for_finished(bench: Bench):
    class Swept(type(bench.store)):
        def _cancel_rest(self, batch):
            assert self.finish([batch]) == [batch], "the sweep that comes in between"
            return super()._cancel_rest(batch)

    batch = bench.batch(2)
    bench.store.__class__ = Swept
    assert bench.store.cancel(batch) == 2
    assert bench.store.status(batch).state is BatchState.CANCELLED


def test_an_unknown_batch_is_said_so(store: SqlStore):
    nowhere = BatchId(uuid4())
    for call in (
        lambda: store.status(nowhere),
        lambda: store.results(nowhere),
        lambda: store.cancel(nowhere),
        lambda: store.seal(nowhere),
        lambda: store.retry(nowhere, [FileState.FAILED], CREW),
        lambda: store.hand_over(nowhere, CREW),
    ):
        with pytest.raises(UnknownBatch):
            call()
    with pytest.raises(UnknownFile):
        store.story(FileId(uuid4()))


def test_status_counts_and_knows_the_profile(bench: Bench):
    batch, _ = bench.polling(2)
    bench.store.add_files(batch, ["/new"])
    status = bench.store.status(batch)
    assert (status.total, status.counts) == (3, {FileState.QUEUED: 1, FileState.POLLING: 2})
    assert status.oldest_in_flight is not None
    assert status.oldest_in_flight >= 0
    assert (status.profile_state, status.profile_reason) == ("open", None)
    bench.store.freeze(PROFILE, ["status"], 60, "429: slow down")
    assert bench.store.status(batch).profile_state == "frozen"
    bench.store.pause(PROFILE, "token refused")
    paused = bench.store.batches()[0]
    assert (paused.profile_state, paused.profile_reason) == ("paused", "token refused")


def test_results_tell_every_field(bench: Bench):
    batch, (file,) = bench.polling(1)
    contents = Contents('[{"a": 1}]', [{"a": "é\x00", "big": 2**60}], "llm", sanitized=True)
    bench.store.record(
        [Ended(file.id, file.token, FileState.PARTIAL, status=8, asked=True, contents=contents,
                 error=ErrorNote("flow_failed", "flow failed"))]
    )  # fmt: skip
    (line,) = bench.store.results(batch)
    assert line.source == "/in/00000.wav"
    assert line.name == "00000.wav"
    assert line.category == "Audio"
    assert line.sha256 == "0" * 64
    assert line.chatflow_file_id == f"cf-{bench.uploads[file.id]}"
    assert (line.status, line.state) == (8, FileState.PARTIAL)
    assert (line.error_code, line.error_message) == ("flow_failed", "flow failed")
    assert line.parse_content == '[{"a": 1}]'
    assert line.parse_segments == [{"a": "é\ufffd", "big": 2**60}]
    assert (line.llm_content, line.sanitized) == ("llm", True)
    assert (line.upload_attempts, line.polls) == (1, 1)
    assert line.submitted_at is not None
    assert line.finished_at is not None
    assert line.finished_at.utcoffset().total_seconds() == 0
    assert line.submitted_at <= line.finished_at


def test_the_view_has_the_columns_of_a_result_line(bench: Bench):
    bench.polling(1)
    (row,) = bench.rows("SELECT * FROM ingested_files")
    line = next(bench.store.results(bench.store.batches()[0].batch_id))
    assert set(line.__slots__) <= set(row._mapping)
    assert row.chatflow_file_id == line.chatflow_file_id
    assert not row.sanitized


def test_results_can_be_narrowed_and_come_in_turn(bench: Bench):
    batch, files = bench.polling(5)
    bench.store.record([done(files[3]), done(files[1])])
    picked = bench.store.results(batch, {FileState.SUCCEEDED})
    assert [file.file_id for file in picked] == [files[1].id, files[3].id]
    assert list(bench.store.results(batch, [])) == []


def test_results_are_read_in_pages(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worker.adapters.database.results.PAGE_FILES", 3)
    monkeypatch.setattr("worker.adapters.database.results.PAGE_CHARACTERS", 10)
    batch, files = bench.polling(8)
    bench.store.record([done(file, "x" * 6 * (n % 4)) for n, file in enumerate(files)])
    lines = list(bench.store.results(batch))
    assert [line.file_id for line in lines] == [file.id for file in files]
    assert [len(line.parse_content or "") for line in lines] == [0, 6, 12, 18] * 2


def test_a_file_with_large_contents_that_is_pruned_while_others_are_read_is_left_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("worker.adapters.database.results.PAGE_CHARACTERS", 2000)
    batch, files = bench.polling(3)
    bench.store.record([done(file, "x" * 1500) for file in files])
    found = bench.store.results(batch)
    assert next(found).file_id == files[0].id
    for table, column in (("results", "file_id"), ("file_events", "file_id"),
                          ("uploads", "file_id"), ("files", "id")):  # fmt: skip
        bench.execute(f"DELETE FROM {table} WHERE {column} = :file", file=_bound(bench, files[1]))
    assert [line.file_id for line in found] == [files[2].id]


def _bound(bench: Bench, file) -> object:
    return file.id if bench.store._database.kind == "postgresql" else str(file.id)


def test_contents_of_megabytes_are_kept_whole(bench: Bench):
    batch, (file,) = bench.polling(1)
    text = "é\n" * 2_000_000
    bench.store.record([done(file, text)])
    assert next(bench.store.results(batch)).parse_content == text


def test_options_reach_the_claim(bench: Bench):
    options = BatchOptions("Contract", '{"a": 1}')
    bench.batch(1, options=options)
    assert [file.options for file in bench.claim().files] == [options]


def test_a_story_tells_transitions_and_uploads(bench: Bench):
    _, (file,) = bench.polling(1)
    note = ErrorNote("service_fault", "HTTP 500 \x00")
    bench.store.record(
        [StillPolling(file.id, file.token, wait=0, failures=1,
                 error=note, note=FileEventName.POLL_FAILED)]
    )  # fmt: skip
    (again,) = bench.claim(Lane.POLL).files
    bench.store.record([StillPolling(again.id, again.token, wait=0)])
    (last,) = bench.claim(Lane.POLL).files
    bench.store.record([done(last)])
    story = bench.store.story(file.id)
    assert [event.event for event in story.events] == [
        "queued", "submitting", "polling", "poll_failed", "succeeded",
    ]  # fmt: skip
    assert story.events[3].message == "HTTP 500 \ufffd"
    (upload,) = story.uploads
    assert (upload.attempt, upload.state.value, upload.category) == (1, "accepted", "Audio")
    assert upload.chatflow_dialog_id == "1017340986451495206"
    assert upload.created_at <= upload.sent_at <= upload.ended_at
    assert story.result.polls == 3


def test_reasons_are_counted_with_examples(bench):
    batch = bench.batch(6)
    files = sorted(bench.claim().files, key=lambda file: file.source)
    notes = [ErrorNote("empty", f"empty {n}") for n in range(4)] + [ErrorNote("too_large", "1 GiB")]
    bench.store.record(
        [
            Ended(file.id, file.token, FileState.REJECTED, error=note)
            for file, note in zip(files, notes, strict=False)
        ]
    )
    found = bench.store.reasons(batch, examples=2)
    assert [(r.state, r.code, r.count) for r in found] == [
        (FileState.REJECTED, "empty", 4),
        (FileState.REJECTED, "too_large", 1),
    ]
    assert found[0].examples == (("/in/00000.wav", "empty 0"), ("/in/00001.wav", "empty 1"))
    assert bench.store.reasons(batch, examples=0)[0].examples == ()
    bench.store.cancel(batch)
    assert (FileState.CANCELLED, None, 1) in [
        (r.state, r.code, r.count) for r in bench.store.reasons(batch)
    ]
