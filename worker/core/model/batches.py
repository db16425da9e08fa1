"""Batches: what is handed in, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from worker.core.lifecycle import BatchState, FileState
from worker.core.model.ids import BatchId, Crew


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What a batch says about all of its files."""

    category: str | None = None
    inputs: str | None = None  # JSON object, as text


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to be created, or found again by its id.

    `notify` is the validated object of the caller ({"task", "queue"} or {"url"}), or None.
    `after` is a schedule's rule for a file whose result is stored ("leave", "delete", "move:DIR").
    `force` holds for the files that are handed in with it: no result is reused for them.
    """

    id: BatchId
    profile: str
    crew: Crew
    external_key: str | None = None
    options: BatchOptions = BatchOptions()
    notify: dict[str, str] | None = None
    after: str = "leave"
    force: bool = False


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """One batch as `status --json` tells it."""

    batch_id: BatchId
    external_key: str | None
    profile: str
    crew: Crew
    state: BatchState
    total: int
    counts: dict[FileState, int]
    started_at: datetime
    finished_at: datetime | None
    profile_state: str = "open"
    profile_reason: str | None = None
    oldest_in_flight: float | None = None  # seconds since the oldest open upload was accepted
    sealed: bool = True  # False while files are still being registered
    reason: str | None = None  # why it was rejected
