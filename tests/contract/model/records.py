"""What the model knows of a batch, a file and an upload: named as the columns that they mirror."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from worker.core.lifecycle import BatchState, FileState
from worker.core.model.files import UploadState
from worker.core.model.ids import BatchId, Crew, FileId, UploadId

RETRIED = {
    # how a file ended: whether `retry` may go on polling it
    FileState.PARTIAL: False,
    FileState.FAILED: True,
    FileState.TIMED_OUT: True,
    FileState.REJECTED: False,
    FileState.CANCELLED: True,
}
ENDED_BADLY = {3, 6, 8}
COUNTED = {UploadState.ACCEPTED, UploadState.REFUSED, UploadState.UNKNOWN}
NEVER_SENT = {UploadState.INTENT, UploadState.WITHDRAWN}
MEANT = ("Audio", 7)
"""The category and the size of every upload that is begun."""

KNOWLEDGE = [UploadState.INTENT, UploadState.SENT, UploadState.UNKNOWN]
"""What is known of an upload that has no certain end, from least to most."""


@dataclass
class ModelUpload:
    """One entry of a file's ledger."""

    id: UploadId
    attempt: int
    lease_token: UUID
    state: UploadState = UploadState.INTENT
    chatflow_file_id: str | None = None
    sent_at: datetime | None = None
    ended_at: datetime | None = None

    def learns(self, told: UploadState) -> bool:
        """Whether the word says more than what is known: the taken never becomes anything else."""
        if told is UploadState.ACCEPTED:
            return self.state is not UploadState.ACCEPTED
        if self.state not in KNOWLEDGE:
            return False
        if told in KNOWLEDGE:
            return KNOWLEDGE.index(told) > KNOWLEDGE.index(self.state)
        return told is UploadState.REFUSED or self.state is not UploadState.UNKNOWN


@dataclass
class ModelFile:
    """A file; the first fields are compared with its row as they are."""

    id: FileId
    batch_id: BatchId
    turn: int
    crew: Crew
    source: str
    created_at: datetime
    next_at: datetime | None
    forced: bool = False
    after_rule: str | None = None
    state: FileState = FileState.QUEUED
    lease_token: UUID | None = None
    recorded_token: UUID | None = None
    deaths: int = 0
    upload_attempts: int = 0
    attempts_used: int = 0
    failures: int = 0
    polls: int = 0
    category: str | None = None
    size: int | None = None
    chatflow_file_id: str | None = None
    service_status: int | None = None
    parsed: bool = False
    error_code: str | None = None
    submitted_at: datetime | None = None
    asked_at: datetime | None = None
    deadline_at: datetime | None = None
    deadline_seconds: float | None = None
    finished_at: datetime | None = None
    reuse_key: str | None = None
    reused_from: FileId | None = None
    waits_for: UUID | None = None
    ledger: list[ModelUpload] = field(default_factory=list)
    result: str | None = None
    has_result: bool = False

    @property
    def is_open(self) -> bool:
        return not self.state.is_terminal

    @property
    def claimed_deaths(self) -> int:
        """What its deaths are if it is claimed now: a lease that is still on it ran out."""
        return self.deaths + (self.lease_token is not None)

    @property
    def deciding(self) -> ModelUpload | None:
        """The upload that says what the file needs."""
        if not self.ledger:
            return None
        newest = self.ledger[-1]
        taken = [each for each in self.ledger if each.state is UploadState.ACCEPTED]
        sent = [each for each in self.ledger if each.state not in NEVER_SENT]
        return newest if newest.state is UploadState.SENT else (taken or sent or self.ledger)[-1]

    def upload(self, key: UploadId) -> ModelUpload | None:
        return next((each for each in self.ledger if each.id == key), None)

    def place(self, state: FileState, at: datetime | None, now: datetime) -> None:
        """It stands here from now on, held by nobody."""
        self.state = state
        self.lease_token = None
        self.next_at = None if state.is_terminal else at or now
        self.finished_at = now if state.is_terminal else None


@dataclass
class ModelBatch:
    """A batch, and the parts of its hand-ins that were registered."""

    id: BatchId
    crew: Crew
    category: str | None
    notify: bool
    after_rule: str
    created_at: datetime
    state: BatchState = BatchState.RUNNING
    next_turn: int = 0
    sealed: bool = False
    finished_at: datetime | None = None
    reason: str | None = None
    parts: dict[tuple[str, int], int] = field(default_factory=dict)


@dataclass
class ModelNotification:
    """An entry of the outbox, with what its payload counts."""

    batch_id: BatchId
    state: BatchState
    counts: dict[str, int]
    next_at: datetime | None
    attempts: int = 0
    delivered: bool = False
    dead: bool = False
