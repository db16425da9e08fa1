"""What the protocol does not foresee is logged, not only kept with the file."""

from __future__ import annotations

from uuid import UUID

import pytest

from worker.core.lifecycle import FileState
from worker.core.model import FileId, LeaseToken, UploadId, UploadResult, UploadState, Verdict
from worker.core.rules import Rules
from worker.steps.service import Service

pytestmark = pytest.mark.anyio

FILE, TOKEN, UPLOAD = FileId(UUID(int=1)), LeaseToken(UUID(int=2)), UploadId(UUID(int=3))


class Log:
    def __init__(self):
        self.events = []

    def event(self, name, **fields):
        self.events.append(name)


class Written:
    async def verdict(self, verdict):
        return True


@pytest.mark.parametrize(
    ("verdict", "events"),
    [
        (Verdict(FILE, TOKEN, FileState.POLLING, wait=1.0, status=4), []),
        (
            Verdict(FILE, TOKEN, FileState.POLLING, wait=1.0, status=42, note="unknown_status"),
            ["unknown_status"],
        ),
        (
            Verdict(
                FILE,
                TOKEN,
                FileState.QUEUED,
                wait=5.0,
                upload=UploadResult(UPLOAD, UploadState.UNKNOWN),
            ),
            ["upload_unknown"],
        ),
    ],
)
async def test_the_unforeseen_is_reported(verdict, events):
    log = Log()
    nobody = object()
    service = Service(
        Rules("default"), "me", nobody, Written(), log, nobody, nobody, nobody, nobody
    )
    await service.record(verdict)
    assert log.events == events
