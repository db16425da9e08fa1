"""A batch in figures, gathered file by file: over time, by category, the slowest. Pure.

What is kept per file is one number, so a hundred thousand files take a few megabytes.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.core.lifecycle import FileState
from worker.core.seen import FileLine

MOMENTS = 120
"""Points of the line over time."""

SLOWEST = 20
BARS = 24
_GOOD = frozenset({FileState.SUCCEEDED, FileState.PARTIAL})


@dataclass(frozen=True, slots=True)
class Moment:
    """How many files stood where, so many seconds after the batch began."""

    seconds: float
    waiting: int
    at_service: int
    succeeded: int
    other: int


@dataclass(frozen=True, slots=True)
class Times:
    """How long the files of one category took from acceptance to their result, in seconds.

    Attributes:
        bars: files by equal steps from 0 to `longest`.
    """

    category: str
    count: int
    p50: float
    p95: float
    longest: float
    bars: tuple[int, ...]


@dataclass
class Figures:
    """Takes a batch's files one by one.

    Attributes:
        began: POSIX seconds of the batch's beginning.
        until: POSIX seconds of its end, or of now.
    """

    began: float
    until: float
    files: int = 0
    _bytes: int = 0
    _sent: Counter[int] = field(default_factory=Counter)
    _good: Counter[int] = field(default_factory=Counter)
    _other: Counter[int] = field(default_factory=Counter)
    _other_unsent: Counter[int] = field(default_factory=Counter)
    _times: dict[str, array[float]] = field(default_factory=lambda: defaultdict(_doubles))
    _slowest: list[tuple[float, int, FileLine]] = field(default_factory=list)

    def add(self, line: FileLine) -> None:
        """Take one file."""
        self.files += 1
        self._bytes += line.size or 0
        sent = line.submitted_at.timestamp() if line.submitted_at else None
        ended = line.finished_at.timestamp() if line.finished_at else None
        if sent is not None:
            self._sent[self._step(sent)] += 1
        if ended is None:
            return
        good = line.state in _GOOD
        (self._good if good else self._other)[self._step(ended)] += 1
        if sent is None:
            self._other_unsent[self._step(ended)] += 1
        elif good and ended >= sent:
            self._times[line.category or "no category"].append(ended - sent)
            heapq.heappush(self._slowest, (ended - sent, self.files, line))
            if len(self._slowest) > SLOWEST:
                heapq.heappop(self._slowest)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return self._bytes

    @property
    def span(self) -> float:
        """Seconds from the batch's beginning to its end, or to now."""
        return max(self.until - self.began, 0.001)

    def slowest(self) -> list[tuple[float, FileLine]]:
        """The files that took longest, in seconds, the slowest first."""
        return [(seconds, line) for seconds, _, line in sorted(self._slowest, reverse=True)]

    def over_time(self) -> list[Moment]:
        """Where the files stood, from the batch's beginning to its end."""
        sent = good = other = unsent = 0
        moments = []
        for step in range(MOMENTS + 1):
            sent += self._sent[step]
            good += self._good[step]
            other += self._other[step]
            unsent += self._other_unsent[step]
            flying = max(0, sent - good - (other - unsent))
            waiting = max(0, self.files - flying - good - other)
            seconds = self.span * step / MOMENTS
            moments.append(Moment(seconds, waiting, flying, good, other))
        return moments

    def times(self) -> list[Times]:
        """The times to ready of each category, the largest category first."""
        largest_first = sorted(self._times.items(), key=lambda item: (-len(item[1]), item[0]))
        return [_times(category, sorted(seconds)) for category, seconds in largest_first]

    def _step(self, moment: float) -> int:
        share = (moment - self.began) / self.span
        return min(MOMENTS, max(0, int(share * MOMENTS + 0.999)))


def _doubles() -> array[float]:
    return array("d")


def _times(category: str, seconds: Sequence[float]) -> Times:
    longest = seconds[-1] or 0.001
    edges = [longest * (bar + 1) / BARS for bar in range(BARS)]
    below = [bisect_left(seconds, edge) for edge in edges[:-1]] + [len(seconds)]
    bars = tuple(upper - lower for lower, upper in zip([0, *below], below, strict=False))
    return Times(category, len(seconds), _part(seconds, 0.5), _part(seconds, 0.95), longest, bars)


def _part(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


# --- shapes --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Band:
    """One band of the picture over time: its name and the points of its outline, as SVG has it."""

    name: str
    label: str
    points: str


_BANDS = (
    ("succeeded", "succeeded"),
    ("other", "did not succeed"),
    ("at_service", "at the service"),
    ("waiting", "waiting"),
)


def bands(moments: Sequence[Moment], files: int, width: float, height: float) -> list[Band]:
    """The states over time as bands, one on the other, in a picture of this size."""
    found = []
    floor = [0.0] * len(moments)
    for name, label in _BANDS:
        top = [low + getattr(moment, name) for low, moment in zip(floor, moments, strict=True)]
        outline = [*_line(top, files, width, height), *reversed(_line(floor, files, width, height))]
        found.append(Band(name, label, " ".join(f"{x:.1f},{y:.1f}" for x, y in outline)))
        floor = top
    return found


def _line(
    values: Sequence[float], files: int, width: float, height: float
) -> list[tuple[float, float]]:
    steps = max(1, len(values) - 1)
    whole = max(1, files)
    return [(width * n / steps, height * (1 - value / whole)) for n, value in enumerate(values)]
