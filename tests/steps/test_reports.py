"""What the protocol does not foresee is logged, not only kept with the file."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.fakes import Events
from worker.core.lifecycle import FileEventName, FileState
from worker.core.model.files import ErrorNote, PolledFile, UploadResult, UploadState
from worker.core.model.ids import BatchId, FileId, LeaseToken, UploadId
from worker.core.rules import Rules
from worker.core.verdicts import Ended, Requeued, StillPolling
from worker.steps.context import ProfileContext

pytestmark = pytest.mark.anyio

FILE, TOKEN, UPLOAD = FileId(UUID(int=1)), LeaseToken(UUID(int=2)), UploadId(UUID(int=3))


POLLED = PolledFile(FILE, BatchId(UUID(int=4)), TOKEN, "/a.wav", "a.wav", polls=2, age=4.25)


class Written:
    async def verdict(self, verdict):
        return True


@pytest.mark.parametrize(
    ("verdict", "events"),
    [
        (StillPolling(FILE, TOKEN, wait=1.0, status=4), []),
        (
            StillPolling(
                FILE,
                TOKEN,
                wait=1.0,
                status=42,
                note=FileEventName.UNKNOWN_STATUS,
            ),
            ["unknown_status"],
        ),
        (
            Requeued(
                FILE,
                TOKEN,
                wait=5.0,
                upload=UploadResult(UPLOAD, UploadState.UNKNOWN),
            ),
            ["upload_unknown"],
        ),
    ],
)
async def test_the_unforeseen_is_reported(verdict, events):
    log = Events()
    await a_context(log).record(POLLED, verdict)
    assert log.names == events
    assert all(each["file_name"] == POLLED.name for _, each in log.events)


def a_context(log):
    nobody = object()
    return ProfileContext(
        Rules("default"), "me", nobody, Written(), log, nobody, nobody, nobody, nobody
    )


async def test_a_files_end_is_told_once_with_its_figures():
    log = Events()
    error = ErrorNote("parse_failed", "no text layer")
    verdict = Ended(FILE, TOKEN, FileState.FAILED, error, status=6, asked=True)
    await a_context(log).record(POLLED, verdict)
    assert log.counts == {
        ("chatflow_ingest_files_ended_total", "default", "failed"): 1,
        ("chatflow_ingest_lag_seconds", "default"): 1,
    }
    told = {
        "profile": "default", "batch": str(POLLED.batch_id), "file": str(FILE),
        "file_name": POLLED.name, "state": "failed",
        "code": "parse_failed", "seconds": 4.25, "polls": 3,
    }  # fmt: skip
    assert log.events == [("file_ended", told)]


@pytest.mark.parametrize(
    ("verdict", "cause"),
    [
        (
            StillPolling(
                FILE, TOKEN, wait=1.0, error=ErrorNote("service_fault", "500"), failures=1
            ),
            "service_fault",
        ),
        (Requeued(FILE, TOKEN, wait=5.0, error=ErrorNote("upload_failed", "3")), "upload_failed"),
        (
            Requeued(FILE, TOKEN, wait=5.0, upload=UploadResult(UPLOAD, UploadState.UNKNOWN)),
            "upload_unknown",
        ),
        (StillPolling(FILE, TOKEN, wait=1.0, status=4), None),
    ],
)
async def test_a_file_that_is_tried_again_counts_by_its_cause(verdict, cause):
    log = Events()
    await a_context(log).record(POLLED, verdict)
    counted = {("chatflow_ingest_retries_total", "default", cause): 1}
    assert log.counts == (counted if cause else {})
