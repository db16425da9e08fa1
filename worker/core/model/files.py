"""A file in hand, its uploads, and what is written about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from worker.core.model.batches import BatchOptions
from worker.core.model.ids import BatchId, FileId, LeaseToken, UploadId
from worker.core.model.wire import DialogSession


@dataclass(frozen=True, slots=True)
class ErrorNote:
    """Why something did not go well, in words for an operator.

    `code` is an `ErrorCode`, or one that the service chose for itself; `seconds` is how long the
    call took that failed, None where it was no call.
    """

    code: str
    message: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """A file that may be uploaded as far as its source can tell; size in bytes."""

    name: str
    size: int


class UploadState(StrEnum):
    """Where one upload stands in the ledger."""

    INTENT = "intent"  # written before anything is sent: a crash here sent nothing
    SENT = "sent"  # written before the first byte: a crash here is `unknown`
    ACCEPTED = "accepted"
    REFUSED = "refused"  # for certain not taken
    UNKNOWN = "unknown"
    WITHDRAWN = "withdrawn"  # never sent: the worker gave it back, or no connection came about


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One upload of a file as the ledger knows it; category and size as they were meant."""

    id: UploadId
    state: UploadState
    chatflow_file_id: str | None = None
    service_status: int | None = None
    category: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ClaimedFile:
    """A file in hand: the caller holds its lease until the lease's end and no longer.

    Attributes:
        attempts_used: uploads that count against the limit since the file was handed in or
            retried (taken, refused or unknown).
        failures: calls in a row that failed, for the backoff.
        deaths: how often in a row a worker died or froze while it held the file.
        polls: status calls that were made for it so far, answered or not, about any upload.
        handed_in_at: when, POSIX seconds by the database's clock.
    """

    id: FileId
    batch_id: BatchId
    token: LeaseToken
    source: str
    name: str
    attempts_used: int = 0
    failures: int = 0
    deaths: int = 0
    polls: int = 0
    handed_in_at: float = 0.0


@dataclass(frozen=True, slots=True)
class QueuedFile(ClaimedFile):
    """A file that was claimed to be submitted, and is `submitting` now.

    Attributes:
        options: what its batch says about it.
        deciding_upload: the ledger entry that decides what the file needs (see
            `ledger.deciding`), None when it was never uploaded.
        forced: whether it is uploaded even if its result is known.
    """

    options: BatchOptions = field(default_factory=BatchOptions)
    deciding_upload: LedgerEntry | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class PolledFile(ClaimedFile):
    """A file that was claimed to be asked about.

    Attributes:
        chatflow_file_id: what it is asked by.
        service_status: what the service said last, None before it was asked.
        age: seconds since the upload was accepted, when it is due.
        asked_age: that age when its status was asked for last, 0 when it never was.
        due_in: seconds until it should be asked for, should it have been claimed ahead of time.
        expired: whether the poll deadline is over by then (database time).
        deadline_in: seconds from when it is due to the poll deadline, None when none is set.
        parsed: whether status 5 was seen already and its contents are stored.
        size: bytes that were uploaded.
        category: as which it was uploaded.
    """

    chatflow_file_id: str | None = None
    service_status: int | None = None
    age: float = 0.0
    asked_age: float = 0.0
    due_in: float = 0.0
    expired: bool = False
    deadline_in: float | None = None
    parsed: bool = False
    size: int | None = None
    category: str | None = None


File_co = TypeVar("File_co", bound=ClaimedFile, covariant=True)


@dataclass(frozen=True, slots=True)
class Claim(Generic[File_co]):
    """What a claim brought: `QueuedFile`s in the submit lane, `PolledFile`s in the other.

    Attributes:
        files: the rows in hand, all with the same `token`.
        next_wait: when there was none: seconds until the next row of this crew and lane is due
            (None: none is left open), counting a freeze of the profile. 0 when there was some:
            the next claim tells.
        probing: True when the profile thaws: this one file is the probing call.
    """

    files: tuple[File_co, ...] = ()
    token: LeaseToken | None = None
    next_wait: float | None = None
    probing: bool = False


@dataclass(frozen=True, slots=True)
class UploadResult:
    """How one upload of the ledger ended."""

    id: UploadId
    state: UploadState
    chatflow_file_id: str | None = None
    error: ErrorNote | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """One upload about to be made, for the ledger, before anything is sent."""

    id: UploadId
    file: FileId
    token: LeaseToken
    category: str
    size: int


@dataclass(frozen=True, slots=True)
class Sending:
    """An upload whose first byte is sent as soon as the ledger says so."""

    profile: str
    file: FileId
    upload: UploadId


@dataclass(frozen=True, slots=True)
class DialogLoad:
    """A dialog session and the uploads that will use its places."""

    profile: str
    session: DialogSession
    intents: tuple[Intent, ...]
