"""What must agree about one file, and what is merely counted apart."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from worker.core.audit import (
    AuditedBatch,
    AuditedEvent,
    AuditedFile,
    AuditedUpload,
    batch_faults,
    file_faults,
)
from worker.core.lifecycle import BatchState, FileState, Lane
from worker.core.model.files import UploadState
from worker.core.model.ids import BatchId, FileId

START = datetime(2026, 11, 24, tzinfo=UTC)


def at(seconds):
    return START + timedelta(seconds=seconds)


def story(*names, states=None):
    states = states or names
    return tuple(
        AuditedEvent(at(n), name, FileState(state))
        for n, (name, state) in enumerate(zip(names, states, strict=True))
    )


def accepted(number, sent, ended):
    return AuditedUpload(UploadState.ACCEPTED, f"cf-{number}", at(sent), at(ended))


DONE = AuditedFile(
    file_id=FileId(UUID(int=1)),
    batch_id=BatchId(UUID(int=2)),
    source="/in/a.wav",
    state=FileState.SUCCEEDED,
    lane=None,
    due=False,
    leased=False,
    ended=True,
    upload_attempts=1,
    chatflow_file_id="cf-1",
    has_result=True,
    events=story("submitting", "polling", "succeeded"),
    uploads=(accepted(1, 0.2, 0.8),),
)
WAITING = replace(
    DONE,
    state=FileState.QUEUED,
    lane=Lane.SUBMIT,
    due=True,
    ended=False,
    upload_attempts=0,
    chatflow_file_id=None,
    has_result=False,
    events=(),
    uploads=(),
)


REUSED = replace(
    DONE,
    upload_attempts=0,
    chatflow_file_id=None,
    reused=True,
    events=story("submitting", "reused", states=["submitting", "succeeded"]),
    uploads=(),
)


@pytest.mark.parametrize("file", [DONE, WAITING, REUSED])
def test_a_sound_file_has_no_faults(file):
    assert list(file_faults(file)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lane": Lane.POLL}, "waits for poll"),
        ({"due": True}, "still held or due"),
        ({"leased": True}, "still held or due"),
        ({"ended": False}, "without a moment"),
        ({"state": FileState.FAILED}, "its story leads to succeeded"),
        ({"events": story("submitting", "succeeded")}, "can't become succeeded"),
        ({"events": story("submitting", "polling", "succeeded", "queued")}, "can't become queued"),
        ({"events": story("dreaming", states=["succeeded"])}, "dreaming"),
        ({"upload_attempts": 2}, "uploads counted: 2, and the ledger has 1"),
        ({"chatflow_file_id": "cf-9"}, "points to cf-9"),
        ({"uploads": ()}, "no upload of it was accepted"),
        (
            {"uploads": (*DONE.uploads, AuditedUpload(UploadState.SENT, None, at(1)))},
            "left as sent",
        ),
        ({"uploads": (*DONE.uploads, accepted(2, 1.5, 1.8))}, "uploaded again"),
        ({"error_code": "poison", "deaths": 1}, "poison after 1"),
    ],
)
def test_what_does_not_agree_is_said(changes, words):
    assert words in "; ".join(file_faults(replace(DONE, **changes)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reused": False}, "no upload of it was accepted"),
        ({"events": story("submitting", "polling", "succeeded")}, "does not tell of it"),
        ({"state": FileState.FAILED}, "is failed, and has the result of another file"),
    ],
)
def test_a_result_of_another_file_is_told_of(changes, words):
    assert words in "; ".join(file_faults(replace(REUSED, **changes)))


def test_an_open_file_must_be_looked_at_again():
    assert "never be looked at" in "; ".join(file_faults(replace(WAITING, due=False)))
    assert "has ended" in "; ".join(file_faults(replace(WAITING, ended=True)))


@pytest.mark.parametrize("name", ["upload_failed", "retried"])
def test_another_upload_is_right_after_a_failure_or_a_retry(name):
    before = [FileState.POLLING] if name == "upload_failed" else [FileState.FAILED]
    names = ["submitting", "polling", *(["failed"] if name == "retried" else []), name]
    states = ["submitting", "polling", *(before if name == "retried" else []), "queued"]
    events = story(
        *names, "submitting", "polling", "succeeded",
        states=[*states, "submitting", "polling", "succeeded"],
    )  # fmt: skip
    again = accepted(2, len(names) + 0.5, len(names) + 0.8)
    file = replace(
        DONE,
        events=events,
        uploads=(*DONE.uploads, again),
        upload_attempts=2,
        chatflow_file_id="cf-2",
    )
    assert list(file_faults(file)) == []
    assert file.repeated == 1


def test_a_second_upload_that_began_before_the_first_was_known_is_no_fault():
    late = replace(DONE, uploads=(accepted(1, 0.2, 1.9), accepted(2, 1.5, 1.8)), upload_attempts=2)
    assert list(file_faults(late)) == []
    assert (late.repeated, late.unknown) == (1, 0)


def test_lost_replies_are_counted_apart():
    lost = AuditedUpload(UploadState.UNKNOWN, None, at(0), at(1))
    assert replace(DONE, uploads=(lost, *DONE.uploads)).unknown == 1
    cancelled = replace(
        WAITING,
        state=FileState.CANCELLED, lane=None, due=False, ended=True,
        events=story("submitting", "cancelled"),
        uploads=(AuditedUpload(UploadState.SENT, None, at(0)),),
    )  # fmt: skip
    assert list(file_faults(cancelled)) == []
    assert cancelled.unknown == 1


def test_batches_must_have_all_their_files_and_an_end():
    batch = AuditedBatch(DONE.batch_id, BatchState.FINISHED, True, True, range(3), 3, 0)
    assert list(batch_faults(batch)) == []
    assert "handed in: 3 files, and there are 2" in list(batch_faults(replace(batch, files=2)))
    assert len(list(batch_faults(replace(batch, open_files=1, ended=False)))) == 2
    running = replace(batch, state=BatchState.RUNNING, ended=False, open_files=2)
    assert list(batch_faults(running)) == []
    assert list(batch_faults(replace(running, ended=True))) == ["is running and has ended"]


def test_a_cancelled_batch_may_still_be_on_its_way_to_its_end():
    batch = AuditedBatch(DONE.batch_id, BatchState.CANCELLED, True, False, range(3), 3, 2)
    assert list(batch_faults(batch)) == []
    assert list(batch_faults(replace(batch, files=2))) != []
    ended = replace(batch, ended=True)
    assert list(batch_faults(ended)) == ["is cancelled and has 2 open files"]
    assert list(batch_faults(replace(ended, open_files=0))) == []
