"""What all workers have in common: work that waits, notifications, what was learned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from worker.core.lifecycle import FileState, Lane
from worker.core.model.ids import BatchId, Crew, FileId


@dataclass(frozen=True, slots=True)
class Due:
    """Work that waits: `wait` is the seconds until its first row is due, 0 when it is by now."""

    profile: str
    crew: Crew
    lane: Lane
    wait: float


@dataclass(frozen=True, slots=True)
class Overview:
    """What waits in the whole installation, for metrics.

    Attributes:
        open_files: by profile and state.
        oldest_due: seconds since the longest due file became due, by profile and lane.
        profiles: each known profile's state: "open", "frozen" or "paused".
        notifications: those neither delivered nor dead.
        notifications_dead: those that could not be delivered.
        workers: processes of the fleet at work.
        breakers: those that are open, by profile and category: failures in a row.
        ready_times: seconds, by profile, category and quantile ("0.5", "0.95").
        unknown_uploads: uploads with a lost reply in the batches of a day, by profile.
        retrying: open files that had an error, by profile and its code.
        firings: of each schedule, in time ("on_time") and "late".
        ticked_ago: seconds since a Beat's tick was worked last, None before the first.
    """

    open_files: dict[tuple[str, FileState], int]
    oldest_due: dict[tuple[str, Lane], float]
    profiles: dict[str, str]
    notifications: int
    notifications_dead: int = 0
    workers: int = 0
    breakers: dict[tuple[str, str], int] = field(default_factory=dict)
    ready_times: dict[tuple[str, str, str], float] = field(default_factory=dict)
    unknown_uploads: dict[str, int] = field(default_factory=dict)
    retrying: dict[tuple[str, str], int] = field(default_factory=dict)
    firings: dict[tuple[str, str], int] = field(default_factory=dict)
    ticked_ago: float | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification of the outbox, in hand under a lease.

    `fault` says why it can never be delivered.
    """

    id: int
    batch_id: BatchId
    target: dict[str, str]
    payload: dict[str, Any]
    attempts: int
    message_id: str
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class SeenFile:
    """What a schedule remembers of a file it has handed in."""

    source: str
    size: int
    mtime_ns: int
    sha256: str = field(default="")


@dataclass(frozen=True, slots=True)
class FileKind:
    """Files that become ready in about the same time, as far as can be told beforehand."""

    category: str
    format: str
    size_class: int


@dataclass(frozen=True, slots=True)
class Observation:
    """A file was found ready at an age of `seconds`, and not yet at an age of `since`."""

    kind: FileKind
    seconds: float
    since: float


@dataclass(frozen=True, slots=True)
class Leftover:
    """An ingested file that its schedule wants deleted or moved, its result being stored."""

    file: FileId
    source: str
    rule: str  # "delete" or "move:DIR"
    size: int
    sha256: str
