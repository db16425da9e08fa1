"""Balancing the account: what one file's row, story, uploads and result must agree on.

Everything here holds at every moment, also while workers are at work, as long as the parts were
read at one moment. What is wrong is said as a sentence; what is merely not known (an upload whose
reply was lost) or happened twice is no fault, and counted apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from worker.codes import ErrorCode
from worker.core.leases import POISON_AFTER
from worker.core.ledger import COUNTED
from worker.core.lifecycle import (
    BatchState,
    FileEventName,
    FileState,
    ForbiddenTransition,
    Lane,
    check_step,
)
from worker.core.model.files import UploadState
from worker.core.model.ids import BatchId, FileId
from worker.core.words import counted

TAKEN = frozenset({UploadState.ACCEPTED, UploadState.UNKNOWN})
_NEEDS_UPLOAD = frozenset({FileState.SUCCEEDED, FileState.PARTIAL, FileState.TIMED_OUT})
_MAY_LEAVE_SENT = frozenset({FileState.FAILED, FileState.CANCELLED})
_AGAIN = frozenset({FileEventName.UPLOAD_FAILED, FileEventName.RETRIED})
"""What makes another upload right although an earlier one was accepted."""


@dataclass(frozen=True, slots=True)
class AuditedEvent:
    """One entry of a file's story; `event` as it was written."""

    at: datetime
    event: str
    state: FileState


@dataclass(frozen=True, slots=True)
class AuditedUpload:
    """One upload as the ledger has it."""

    state: UploadState
    chatflow_file_id: str | None = None
    sent_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditedFile:
    """A file with all that must agree, read at one moment.

    Attributes:
        lane: the kind of work it waits for, None when it waits for none.
        due: whether it has a moment at which it wants attention.
        ended: whether it has a moment at which it ended.
        reused: whether its result is that of another file.
    """

    file_id: FileId
    batch_id: BatchId
    source: str
    state: FileState
    lane: Lane | None
    due: bool
    leased: bool
    ended: bool
    upload_attempts: int = 0
    deaths: int = 0
    error_code: str | None = None
    chatflow_file_id: str | None = None
    has_result: bool = False
    reused: bool = False
    events: tuple[AuditedEvent, ...] = ()
    uploads: tuple[AuditedUpload, ...] = ()

    @property
    def unknown(self) -> int:
        """Uploads that the service may or may not have."""
        ended = self.state.is_terminal
        lost = sum(upload.state is UploadState.SENT for upload in self.uploads) if ended else 0
        return lost + sum(upload.state is UploadState.UNKNOWN for upload in self.uploads)

    @property
    def repeated(self) -> int:
        """Uploads beyond the first that the service has, or may have."""
        return max(0, sum(upload.state in TAKEN for upload in self.uploads) - 1)


@dataclass(frozen=True, slots=True)
class AuditedBatch:
    """A batch and its files, counted; each turn belongs to one file."""

    batch_id: BatchId
    state: BatchState
    sealed: bool
    ended: bool
    turns: range
    files: int
    open_files: int


def batch_faults(batch: AuditedBatch) -> Iterator[str]:
    """What does not agree about a batch."""
    if batch.files != len(batch.turns):
        yield f"handed in: {counted(len(batch.turns), 'file')}, and there are {batch.files}"
    if batch.state is BatchState.RUNNING:
        if batch.ended:
            yield "is running and has ended"
        return
    if batch.state is BatchState.CANCELLED and not batch.ended:
        return  # its files are ended one after another, or came later: the next sweep stamps it
    if batch.open_files:
        yield f"is {batch.state} and has {counted(batch.open_files, 'open file')}"
    if not batch.ended:
        yield f"is {batch.state} without a moment at which it ended"


def file_faults(file: AuditedFile) -> Iterator[str]:
    """What does not agree about a file."""
    yield from _place_faults(file)
    yield from _story_faults(file)
    yield from _ledger_faults(file)
    yield from _order_faults(file)


def _place_faults(file: AuditedFile) -> Iterator[str]:
    if file.lane is not file.state.lane:
        yield f"is {file.state} and waits for {file.lane or 'nothing'}"
    if file.state.is_terminal:
        if file.leased or file.due:
            yield f"is {file.state} and still held or due"
        if not file.ended:
            yield f"is {file.state} without a moment at which it ended"
    elif not file.due:
        yield f"is {file.state} and would never be looked at again"
    elif file.ended:
        yield f"is {file.state} and has ended"
    if file.error_code == ErrorCode.POISON and file.deaths < POISON_AFTER:
        yield f"ended as poison after {counted(file.deaths, 'death')}"


def _story_faults(file: AuditedFile) -> Iterator[str]:
    """Each entry must be able to follow the one before, and the last lead to where it stands."""
    state = FileState.QUEUED
    for entry in file.events:
        try:
            check_step(state, FileEventName(entry.event), entry.state)
        except (ForbiddenTransition, ValueError) as fault:
            yield f"event {entry.event}: {fault}"
        state = entry.state
    if state is not file.state:
        yield f"its story leads to {state}, and it is {file.state}"


def _ledger_faults(file: AuditedFile) -> Iterator[str]:
    ledger = sum(upload.state in COUNTED for upload in file.uploads)
    if file.upload_attempts > ledger:
        yield f"uploads counted: {file.upload_attempts}, and the ledger has {ledger}"
    accepted = {u.chatflow_file_id for u in file.uploads if u.state is UploadState.ACCEPTED}
    if file.chatflow_file_id is not None and file.chatflow_file_id not in accepted:
        yield f"points to {file.chatflow_file_id}, which no upload of its own was given"
    if file.reused:
        yield from _reuse_faults(file)
    elif file.state in _NEEDS_UPLOAD and not accepted:
        yield f"is {file.state}, and no upload of it was accepted"
    elif file.has_result and not accepted:
        yield "has a result, and no upload of it was accepted"
    if file.state.is_terminal and file.state not in _MAY_LEAVE_SENT:
        left = sum(upload.state is UploadState.SENT for upload in file.uploads)
        if left:
            yield f"is {file.state}, and {counted(left, 'upload')} left as sent"


def _reuse_faults(file: AuditedFile) -> Iterator[str]:
    if file.state is not FileState.SUCCEEDED:
        yield f"is {file.state}, and has the result of another file"
    if FileEventName.REUSED not in (event.event for event in file.events):
        yield "has the result of another file, and its story does not tell of it"


def _order_faults(file: AuditedFile) -> Iterator[str]:
    """Nothing is sent again that is known to be there, unless its failure or a user wants it."""
    for earlier, later in pairwise(u for u in file.uploads if u.sent_at is not None):
        known = earlier.state is UploadState.ACCEPTED and earlier.ended_at is not None
        if not known or later.sent_at is None or earlier.ended_at is None:
            continue
        if earlier.ended_at <= later.sent_at and not _wanted_again(
            file, earlier.ended_at, later.sent_at
        ):
            yield f"was uploaded again after {earlier.chatflow_file_id} had been accepted"


def _wanted_again(file: AuditedFile, after: datetime, before: datetime) -> bool:
    return any(e.event in _AGAIN and after <= e.at <= before for e in file.events)
