"""When to ask next: from what all workers have seen of files of the same kind."""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from operator import itemgetter

from anyio import to_thread

from worker.core.model.files import ClaimedFile, PolledFile, QueuedFile
from worker.core.model.fleet import FileKind, Observation
from worker.core.planning import format_of
from worker.core.ready_times import PollSchedule, Sketch, schedule_for, scout_share, size_class
from worker.errors import StoreUnavailable
from worker.ports.store import ReadyTimes
from worker.steps.loop import clock

SHARE_EVERY = 2.0
"""Seconds between two exchanges with the database: experience is worth little within seconds."""

HELD_FOR = 2.0
"""What was seen is told once its upload is older than this many times the slowest time to ready."""

MOST_HELD = 5000
"""Files held back at most; a sketch remembers far fewer."""


class Learning:
    """One process's copy of a profile's experience.

    Of files that came together the quick ones are seen first and the slow ones last. Told in that
    order, a batch would look like a service that gets ever slower, so what was seen is
    held back until files of its time that are slower would have been seen too, and told in the
    order of the uploads.

    Losing what was not shared yet costs a few status calls, so nothing waits for it.
    """

    def __init__(self, store: ReadyTimes, profile: str, price: float) -> None:
        self._store = store
        self._profile = profile
        self._price = price
        self._sketches: dict[FileKind, Sketch] = {}
        self._schedules: dict[FileKind, PollSchedule] = {}  # of these sketches, as far as needed
        self._seen: list[tuple[float, Observation]] = []  # with the moment of the upload

    def first_wait(self, file: QueuedFile, category: str, size: int) -> float:
        """Seconds until a file whose upload was accepted just now should be asked for.

        Its row does not hold yet what the upload found out: category, and size in bytes.
        """
        schedule = self._schedule(_kind(file, category, size))
        return schedule.wait(0.0, 0, scout_share(file.id))

    def next_wait(self, file: PolledFile) -> float:
        """Seconds until a file that was asked for just now should be asked for again."""
        schedule = self._schedule(_kind(file, file.category or "", file.size))
        return schedule.wait(file.age, file.polls + 1)

    def _schedule(self, kind: FileKind) -> PollSchedule:
        schedule = self._schedules.get(kind)
        if schedule is None:
            schedule = schedule_for(self._sketches.get(kind), self._price)
            self._schedules[kind] = schedule
        return schedule

    def ready(self, file: PolledFile) -> None:
        """The file was found ready by the status call that was made just now."""
        kind = _kind(file, file.category or "", file.size)
        if len(self._seen) < MOST_HELD:
            seen = Observation(kind, file.age, min(file.asked_age, file.age))
            self._seen.append((clock() - file.age, seen))

    async def share(self, *, everything: bool = False) -> None:
        """Exchange experience with the database; while that is away, another time will do.

        Args:
            everything: hold nothing back, for there will be no next time.
        """
        ripe = self._take_ripe(inf if everything else clock())
        try:
            if ripe:
                told = [seen for _, seen in ripe]
                await to_thread.run_sync(self._store.learn, self._profile, told)
            self._sketches = await to_thread.run_sync(self._store.sketches, self._profile)
            self._schedules = {}
        except StoreUnavailable:
            self._seen = ripe + self._seen

    def _take_ripe(self, now: float) -> list[tuple[float, Observation]]:
        """What was seen of files so old that nothing of their age is still to be expected."""
        slowest = max((seen.seconds for _, seen in self._seen), default=0.0)
        self._seen.sort(key=itemgetter(0))
        ripe = bisect_right(self._seen, now - HELD_FOR * slowest, key=itemgetter(0))
        taken, self._seen = self._seen[:ripe], self._seen[ripe:]
        return taken


def _kind(file: ClaimedFile, category: str, size: int | None) -> FileKind:
    return FileKind(category, format_of(file.name), size_class(size))
