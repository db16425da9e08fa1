"""When to ask next: from what all workers have seen of files of the same kind."""

from __future__ import annotations

from anyio import to_thread

from worker.core.model import ClaimedFile, FileKind, Observation
from worker.core.planning import format_of
from worker.core.readiness import Sketch, schedule_for, scout_share, size_class
from worker.errors import StoreUnavailable
from worker.ports import Experience

SHARE_EVERY = 2.0
"""Seconds between two exchanges with the database: experience is worth little within seconds."""


class Learning:
    """One process's copy of a profile's experience.

    Losing what was not shared yet costs a few status calls, so nothing waits for it.
    """

    def __init__(self, store: Experience, profile: str, price: float) -> None:
        self._store = store
        self._profile = profile
        self._price = price
        self._sketches: dict[FileKind, Sketch] = {}
        self._seen: list[Observation] = []

    def first_wait(self, file: ClaimedFile, category: str) -> float:
        """Seconds until a file whose upload was accepted just now should be asked for."""
        schedule = schedule_for(self._sketches.get(_kind(file, category)), self._price)
        return schedule.wait(0.0, 0, scout_share(file.id))

    def next_wait(self, file: ClaimedFile) -> float:
        """Seconds until a file that was asked for just now should be asked for again."""
        sketch = self._sketches.get(_kind(file, file.category or ""))
        return schedule_for(sketch, self._price).wait(file.age, file.polls + 1)

    def ready(self, file: ClaimedFile) -> None:
        """The file was found ready by the status call that was made just now."""
        kind = _kind(file, file.category or "")
        self._seen.append(Observation(kind, file.age, min(file.asked_age, file.age)))

    async def share(self) -> None:
        """Exchange experience with the database; while that is away, another time will do."""
        seen, self._seen = self._seen, []
        try:
            if seen:
                await to_thread.run_sync(self._store.learn, self._profile, seen)
            self._sketches = await to_thread.run_sync(self._store.sketches, self._profile)
        except StoreUnavailable:
            self._seen = seen + self._seen


def _kind(file: ClaimedFile, category: str) -> FileKind:
    return FileKind(category, format_of(file.name), size_class(file.size))
