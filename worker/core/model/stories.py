"""What is told of one file: its result, and how it came to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.core.lifecycle import FileState
from worker.core.model.files import UploadState
from worker.core.model.ids import BatchId, Crew, FileId, UploadId


@dataclass(frozen=True, slots=True)
class FileResult:
    """One line of `results`: the fields and their order are the outward contract.

    `polls` are all status calls made for the file, whatever came of them and whichever of its
    uploads they were about; category, size and digest are there as soon as they are known.
    """

    batch_id: BatchId
    file_id: FileId
    source: str
    name: str
    size: int | None
    sha256: str | None
    category: str | None
    chatflow_file_id: str | None
    status: int | None
    state: FileState
    error_code: str | None
    error_message: str | None
    parse_content: str | None
    parse_segments: Any
    llm_content: str | None
    upload_attempts: int
    polls: int
    submitted_at: datetime | None
    finished_at: datetime | None
    sanitized: bool
    reused_from: FileId | None = None


@dataclass(frozen=True, slots=True)
class FileEvent:
    """One entry of a file's story."""

    at: datetime
    event: str
    state: FileState
    code: str | None
    message: str | None
    seconds: float | None = None  # that a call took which failed


@dataclass(frozen=True, slots=True)
class UploadEntry:
    """One upload of a file, for its story."""

    id: UploadId
    attempt: int
    state: UploadState
    category: str | None
    chatflow_dialog_id: str | None
    session_id: str | None
    chatflow_file_id: str | None
    code: str | None
    message: str | None
    created_at: datetime
    sent_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where an open file waits.

    Attributes:
        due_at: when it wants attention; while it is held, when its lease ends.
        held: whether somebody has it in hand.
        crew: who attends to it.
        failures: calls in a row that failed.
        deadline_at: its poll deadline, None when it has none yet.
    """

    due_at: datetime
    held: bool
    crew: Crew
    failures: int
    deadline_at: datetime | None


@dataclass(frozen=True, slots=True)
class FileStory:
    """All that is known about one file; `place` is None once it has ended."""

    result: FileResult
    events: tuple[FileEvent, ...] = ()
    uploads: tuple[UploadEntry, ...] = ()
    place: FilePlace | None = None
