"""What becomes of a file that was in hand: one of five things, and nothing else.

A verdict is written in one transaction, fenced by the token of the file's lease, which it frees.
Waits and deadlines are seconds from the moment of writing, by the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worker.codes import ErrorCode
from worker.core.lifecycle import FileEventName, FileState
from worker.core.model.files import ErrorNote, UploadResult, UploadState
from worker.core.model.ids import FileId, LeaseToken, UploadId
from worker.core.model.wire import Contents


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a file by now, whether its upload was taken or not.

    Attributes:
        category: which one it goes to, None before one is chosen.
        size: its bytes.
        sha256: their digest in hex, None when not all of them were read.
        reuse_key: what files like it have in common, None when no result is reused.
    """

    category: str | None
    size: int
    sha256: str | None = None
    reuse_key: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The service took an upload: the file is polled, first after `wait`, until `deadline`.

    What the service said of an earlier upload is over.
    """

    state: ClassVar[FileState] = FileState.POLLING
    contents: ClassVar[None] = None
    file: FileId
    token: LeaseToken
    upload_id: UploadId
    chatflow_file_id: str
    traits: Traits
    wait: float
    deadline: float
    status: int | None = None

    @property
    def upload(self) -> UploadResult:
        """How the upload ended, for the ledger."""
        return UploadResult(self.upload_id, UploadState.ACCEPTED, self.chatflow_file_id)


@dataclass(frozen=True, slots=True)
class Resumed:
    """The file is polled at once, on an upload that is known to be accepted since earlier."""

    state: ClassVar[FileState] = FileState.POLLING
    contents: ClassVar[None] = None
    upload: ClassVar[None] = None
    file: FileId
    token: LeaseToken
    chatflow_file_id: str
    deadline: float
    status: int | None = None


@dataclass(frozen=True, slots=True)
class StillPolling:
    """The status was asked for, and the file is asked about again after `wait`.

    Attributes:
        status: the service's number, None when the call failed.
        contents: stored when given; what was stored earlier stays when it is None.
        failures: calls in a row that failed by now.
        note: the entry for the file's story, if the call is worth one; `error` goes with it.
    """

    state: ClassVar[FileState] = FileState.POLLING
    upload: ClassVar[None] = None
    file: FileId
    token: LeaseToken
    wait: float
    status: int | None = None
    contents: Contents | None = None
    failures: int = 0
    error: ErrorNote | None = None
    note: FileEventName | None = None


@dataclass(frozen=True, slots=True)
class Requeued:
    """The file is submitted (again) after `wait`.

    Attributes:
        error: why, if something went wrong.
        upload: how its upload ended, if it had one.
        status: the service's number, when it was asked.
        asked: whether a status call was made for it.
        failures: calls in a row that failed by now.
        note: what the entry in its story is called when it is more than the new state.
        traits: what was found out about the file on the way; None leaves what is known.
    """

    state: ClassVar[FileState] = FileState.QUEUED
    contents: ClassVar[None] = None
    file: FileId
    token: LeaseToken
    wait: float
    error: ErrorNote | None = None
    upload: UploadResult | None = None
    status: int | None = None
    asked: bool = False
    failures: int = 0
    note: FileEventName | None = None
    traits: Traits | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The file is terminal; attributes as those of `Requeued` and `StillPolling`."""

    file: FileId
    token: LeaseToken
    state: FileState
    error: ErrorNote | None = None
    upload: UploadResult | None = None
    status: int | None = None
    contents: Contents | None = None
    asked: bool = False
    note: FileEventName | None = None
    traits: Traits | None = None


Verdict = Accepted | Resumed | StillPolling | Requeued | Ended


def too_large(verdict: StillPolling | Ended, limit: int) -> Ended:
    """The end of a file whose contents the database refuses, being larger than `limit` bytes.

    A `retry`, once the limit is raised, asks the service for them again.
    """
    words = (
        f"the contents are larger than MariaDB's max_allowed_packet ({limit} bytes):"
        " raise it, then retry"
    )
    error = ErrorNote(ErrorCode.CONTENTS_TOO_LARGE, words)
    status = verdict.status
    return Ended(verdict.file, verdict.token, FileState.FAILED, error, status=status, asked=True)
