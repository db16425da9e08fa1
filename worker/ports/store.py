"""The store, whole; it is synchronous, and steps call it from worker threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from worker.core.model.files import ErrorNote
from worker.core.model.fleet import (
    FileKind,
    Leftover,
    Notification,
    Observation,
    Overview,
    SeenFile,
)
from worker.core.model.ids import BatchId, FileId
from worker.core.seen import Firing, NotificationEntry
from worker.ports.batches import Accounts, Batches, Naming, Upkeep
from worker.ports.queue import Attendance, Breakers, Budget, Gates, Queue

if TYPE_CHECKING:  # for every command imports this module, and waits for what it imports
    from worker.core.ready_times import Sketch

R = TypeVar("R")


class Outbox(Protocol):
    """Notifications that wait for delivery."""

    def claim_notifications(self, limit: int, lease: float) -> list[Notification]:
        """Take due notifications under a lease."""
        ...

    def notified(self, notification: int) -> None:
        """Mark it delivered; repeating this does no harm."""
        ...

    def notify_later(self, notification: int, wait: float | None, error: str) -> None:
        """Mark it failed: due again after `wait` seconds, or never (dead letter)."""
        ...

    def notifications_due(self) -> bool:
        """Whether there is anything to claim now."""
        ...

    def undelivered(self, limit: int = 100) -> list[NotificationEntry]:
        """What waits and what is dead, the newest first."""
        ...

    def replay(self, batch: BatchId | None = None) -> int:
        """Make dead letters due again, of one batch or all; returns how many."""
        ...


class Schedules(Protocol):
    """What Beat's schedules have to remember."""

    def lead(self, holder: str, lease: float) -> bool:
        """Whether this Beat leads: at most one holder does at a time, until its lease ends."""
        ...

    def ticked_ago(self) -> float | None:
        """Seconds since a Beat's tick was worked last, None before the first."""
        ...

    def last_due(self, schedule: str) -> float | None:
        """The last due time (POSIX seconds) that was fired, None before the first."""
        ...

    def firings(self) -> dict[str, Firing]:
        """The last firing of each schedule."""
        ...

    def fire(self, schedule: str, due: float) -> bool:
        """Record a firing; False when this due time, or a later one, was fired already."""
        ...

    def unseen(self, schedule: str, files: Iterable[SeenFile]) -> list[SeenFile]:
        """Those files that the schedule has not handed in with this size and time."""
        ...

    def seen_digest(self, schedule: str, source: str) -> str | None:
        """The sha256 a file had when the schedule handed it in last."""
        ...

    def remember(self, schedule: str, files: Sequence[SeenFile]) -> None:
        """The schedule has handed these files in."""
        ...

    def leftovers(self, limit: int, after: FileId | None = None) -> list[Leftover]:
        """Succeeded files whose batch has an `after` rule that was not carried out yet.

        By id, those whose id comes `after` this one.
        """
        ...

    def taken_away(self, file: FileId, error: ErrorNote | None = None) -> None:
        """The rule was carried out, or, with an error, can't be: either way it is done with."""
        ...


class ReadyTimes(Protocol):
    """How long files took to become ready, shared by all workers."""

    def learn(self, profile: str, seen: Sequence[Observation]) -> None:
        """Add observations to the sketches of their kinds."""
        ...

    def sketches(self, profile: str) -> dict[FileKind, Sketch]:
        """What is remembered for each kind of file."""
        ...


class Store(
    Batches,
    Naming,
    Attendance,
    Accounts,
    Upkeep,
    Queue,
    Breakers,
    Gates,
    Budget,
    Outbox,
    Schedules,
    ReadyTimes,
    Protocol,
):
    """The database, whole: the truth about every file."""

    def overview(self) -> Overview:
        """What waits in the whole installation."""
        ...

    def together(self, work: Callable[[], R]) -> R:
        """What the work gives, whose readings of this store share one transaction and one clock.

        It writes nothing, and calls the store from this thread alone.
        """
        ...

    def now(self) -> float:
        """The database's clock, POSIX seconds."""
        ...
