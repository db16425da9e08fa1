"""What people get to see of batches and files beyond their rows: names, reasons, who attends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from worker.core.lifecycle import FileState
from worker.core.model.ids import BatchId, Crew, FileId

AttendedBy = Literal["run", "workers", "nobody"]
"""Who works on a batch."""


@dataclass(frozen=True, slots=True)
class Flight:
    """The files of a batch that the service has in hand.

    Attributes:
        count: how many.
        newest: seconds since the last of them was accepted.
        deadline: seconds until the last of their deadlines is over.
    """

    count: int
    newest: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Flying:
    """A file that the service has had in hand for so many seconds; its size in bytes."""

    file_id: FileId
    name: str
    category: str
    size: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class SlowFile:
    """A file that takes long beside its own kind.

    Attributes:
        kind: what it is compared with: its format, or its category.
        seconds: since it was accepted.
        usual: the seconds within which 95 of 100 of its kind are ready.
    """

    file_id: FileId
    name: str
    kind: str
    seconds: float
    usual: float


@dataclass(frozen=True, slots=True)
class Attendant:
    """A process at work: for one run's crew, or (None) for every fleet."""

    holder: str
    crew: Crew | None
    place: str
    since: datetime


@dataclass(frozen=True, slots=True)
class UploadCounts:
    """A batch's uploads: `repeated` are those of a file beyond its first that may be there."""

    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A category whose files wait, since so many in a row failed; a canary goes in some seconds."""

    profile: str
    category: str
    code: str
    failures: int
    canary_in: float


@dataclass(frozen=True, slots=True)
class BatchDetails:
    """What there is to say about a batch beyond its counts.

    Attributes:
        workers: how many processes of the fleet are at work.
        errors: files that did not succeed, by code, the most frequent first.
        flight: the files that the service has in hand.
        slow: those of them that take long beside their own kind, the slowest first.
        eta: the least and the most seconds it will still take, None when nothing tells.
        held_for: seconds until the profile's freeze is over, None when it is not frozen.
        breakers: those of the profile that are open.
    """

    attended_by: AttendedBy
    workers: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    uploads: UploadCounts = UploadCounts()
    flight: Flight | None = None
    slow: tuple[SlowFile, ...] = ()
    eta: tuple[float, float] | None = None
    held_for: float | None = None
    breakers: tuple[OpenBreaker, ...] = ()
    notifications_waiting: int = 0
    notifications_dead: int = 0

    def unattended(self) -> BatchDetails:
        """The same, but nobody attends to it."""
        return replace(self, attended_by="nobody", workers=0)


@dataclass(frozen=True, slots=True)
class Narrow:
    """Which of the files in some states are meant; what is empty narrows nothing.

    Attributes:
        codes: those with one of these error codes.
        category: those that went, or would have gone, to this category.
        older_than: those that ended at least so many seconds ago.
    """

    codes: frozenset[str] = frozenset()
    category: str | None = None
    older_than: float = 0.0

    def takes(self, code: str | None, category: str | None, ended_for: float) -> bool:
        """Whether a file is meant that ended so long ago with this code in this category."""
        return (
            (not self.codes or code in self.codes)
            and (self.category is None or category == self.category)
            and ended_for >= self.older_than
        )


EVERY = Narrow()
"""Narrows nothing."""


@dataclass(frozen=True, slots=True)
class NotificationEntry:
    """One notification that waits or is dead.

    Attributes:
        target: {"task", "queue"} or {"url"}, as the batch asked for it.
        due_in: seconds until the next attempt, None when there is none any more.
    """

    id: int
    batch_id: BatchId
    target: dict[str, str]
    attempts: int
    created_at: datetime
    due_in: float | None
    dead_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class FileLine:
    """A file in short: where it stands, without its contents."""

    file_id: FileId
    name: str
    source: str
    category: str | None
    size: int | None
    state: FileState
    error_code: str | None
    error_message: str | None
    uploads: int
    polls: int
    submitted_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Prunable:
    """A batch that is over and old enough to be removed."""

    batch_id: BatchId
    external_key: str | None
    ended_at: datetime
    files: int


@dataclass(frozen=True, slots=True)
class Firing:
    """The last time that a schedule fired: its due time and when it was carried out."""

    schedule: str
    due: datetime
    fired_at: datetime


@dataclass(frozen=True, slots=True)
class Reason:
    """Why files of a batch did not succeed: how many for one reason, and the first of them.

    Attributes:
        examples: source and message of the first few, in the order of their turns.
    """

    state: FileState
    code: str | None
    count: int
    examples: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class NamedBatch:
    """A batch that a name may mean."""

    batch_id: BatchId
    external_key: str | None
    profile: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a name may mean."""

    file_id: FileId
    batch_id: BatchId
    source: str
    state: FileState
