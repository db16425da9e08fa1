"""When files become ready: learned from the past, and what that says about when to ask next.

A `Sketch` is a small histogram of the times from acceptance to a terminal status of one kind of
file. A `PollSchedule` places status calls on it where the sum of lag and calls is least. Whoever
asks at 1 s and at 2.5 s only learns that a file became ready between the two: the sketch is
told both, and spreads the file over that interval as the rest of its history suggests. Taking
the later moment for the truth would only ever confirm the schedule that made it.

All times are seconds.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import ceil, isfinite
from typing import Any

from worker.core.model.ids import FileId
from worker.core.pacing import poll_wait

_FIRST_EDGE = 0.05
_RATIO = 1.1
_BINS = 125
_EDGES = (0.0, *(_FIRST_EDGE * _RATIO**power for power in range(_BINS)))
"""Bin i lies between edges i and i + 1: from 50 ms up to almost two hours, ten per cent apart."""

MEMORY = 1000.0
"""About how many files a sketch remembers; with each new one the older ones fade."""

ENOUGH = 30.0
"""Fewer files than this are no history."""

ENOUGH_LEFT = 8.0
"""The schedule ends at the age by which all but this many remembered files were ready; later
`poll_wait` decides."""

ENOUGH_SEEN = 100.0
"""A sketch of fewer files is still finding its shape: learning mends it sooner than doubt."""

SURPRISE = 3.5
"""How many standard deviations of disagreement make a sketch forget what it knew."""

_SURPRISE_MEMORY = 32.0
_PRIOR = 1.0
_SHORTEST_WAIT = 0.05
_SMOOTHING = 200.0  # the fewer files a histogram stands for, the more it is smoothed
_NEGLIGIBLE = 1e-9
_FORMAT = 1

SCOUT_EVERY = 20
_SCOUT_SHARES = 8


def size_class(size: int | None) -> int:
    """The size in bytes on a coarse scale: each class is eight times the one before."""
    return (size or 0).bit_length() // 3


def scout_share(file: FileId) -> float:
    """The part of its first wait after which this file is asked about.

    It is 1 but for one file in `SCOUT_EVERY`, which is asked about once too early: else a
    service that has become much quicker would never be noticed.
    """
    turn, rest = divmod(file.int, SCOUT_EVERY)
    return 1.0 if rest else (turn % _SCOUT_SHARES + 0.5) / _SCOUT_SHARES


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is remembered of the times to ready of one kind of file.

    `bias` and `noise` tell how far the latest files were from what the sketch expected: a sum
    of deviations and its variance, both fading.
    """

    weights: tuple[float, ...] = (0.0,) * _BINS
    bias: float = 0.0
    noise: float = 0.0

    @property
    def total(self) -> float:
        """How many files it stands for."""
        return sum(self.weights)

    def add(self, seconds: float, since: float = 0.0) -> Sketch:
        """Learn of a file that was found ready at this age.

        Args:
            seconds: the file's age when it was found ready.
            since: its age when it was last found not ready, 0 when it never was. The exact
                time, where known, is passed as both.
        """
        if not (isfinite(seconds) and isfinite(since) and seconds >= 0):
            return self
        begin = min(max(since, 0.0), seconds)
        judged = self._judged(begin, seconds)
        weights = list(judged.weights)
        for position, share in _spread(judged.weights, begin, seconds):
            weights[position] += share
        return Sketch(_faded(weights), judged.bias, judged.noise)

    def merge(self, other: Sketch) -> Sketch:
        """Both histories together, faded to what one sketch remembers."""
        weights = [mine + theirs for mine, theirs in zip(self.weights, other.weights, strict=True)]
        return Sketch(_faded(weights), self.bias + other.bias, self.noise + other.noise)

    def quantile(self, part: float) -> float:
        """The age by which this part of the files was ready; 0 for an empty sketch."""
        wanted = part * self.total
        below = 0.0
        for position, weight in enumerate(self.weights):
            if weight and below + weight >= wanted:
                return _between(_EDGES, position, min(1.0, max(0.0, (wanted - below) / weight)))
            below += weight
        return 0.0

    def to_json(self) -> str:
        """Less than 1 KB of text."""
        weights = [round(weight, 2) for weight in self.weights]
        full = [position for position, weight in enumerate(weights) if weight]
        first, last = (full[0], full[-1] + 1) if full else (0, 0)
        doubt = [round(self.bias, 2), round(self.noise, 2)]
        plain = {"v": _FORMAT, "first": first, "weights": weights[first:last], "doubt": doubt}
        return json.dumps(plain, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | None) -> Sketch:
        """The sketch that was written; an empty one when the text is not of this format.

        A history only makes polling cheaper, so a lost one is no error.
        """
        try:
            return cls._from_plain(json.loads(text or "null"))
        except (ValueError, TypeError, KeyError):
            return cls()

    @classmethod
    def _from_plain(cls, plain: Any) -> Sketch:
        first, weights = int(plain["first"]), [float(weight) for weight in plain["weights"]]
        bias, noise = (float(number) for number in plain["doubt"])
        sound = all(isfinite(number) for number in (*weights, bias, noise))
        room = _BINS - first - len(weights)
        if plain["v"] != _FORMAT or not sound or min([first, room, noise, *weights]) < 0:
            raise ValueError("not a sketch")
        return cls((0.0,) * first + tuple(weights) + (0.0,) * room, bias, noise)

    def _judged(self, begin: float, end: float) -> Sketch:
        """This sketch with one more file held against it; an empty one when it was wrong.

        The middle of the file's interval, on the scale of the expected distribution, is 1/2
        on average wherever the polls were, as long as the sketch is right. An interval of
        probability p adds (1 - p²)/12 to the variance: one that says little weighs little.
        """
        total = self.total
        if total < ENOUGH_SEEN:
            return self
        low, high = self._below(begin) / total, self._below(end) / total
        told = 1 - (high - low) ** 2
        fading = 1 - told / _SURPRISE_MEMORY
        bias = self.bias * fading + (low + high - 1) / 2
        noise = self.noise * fading**2 + told / 12
        if bias**2 > SURPRISE**2 * max(noise, 1 / 12):
            return Sketch()
        return Sketch(self.weights, bias, noise)

    def _below(self, seconds: float) -> float:
        """The weight of what was ready by then, even within a bin."""
        position = _bin_of(seconds)
        start, stop = _EDGES[position], _EDGES[position + 1]
        part = min(1.0, (seconds - start) / (stop - start))
        return sum(self.weights[:position]) + part * self.weights[position]


class PollSchedule:
    """The best moments to ask, for files of which a sketch tells the times to ready.

    Asking at age t, after the file was last seen unfinished at age a, costs `price` and brings
    the expected lag of what became ready in between; what is unfinished at t goes on from
    there. The cheapest next t for every a follows backwards from the oldest age.

    Args:
        sketch: the history, or None.
        price: how many seconds of lag one status call is worth; more than 0.
    """

    def __init__(self, sketch: Sketch | None, price: float = 1.0) -> None:
        self._ages: Sequence[float] = ()
        self._targets: Sequence[float] = ()
        self._horizon = -1.0
        if sketch is not None and sketch.total >= ENOUGH:
            self._ages, ready = _curve(sketch)
            self._targets = _placement(self._ages, ready, price)
            known = 1 - min(1.0, ENOUGH_LEFT / sketch.total)
            self._horizon = self._ages[bisect_left(ready, known)]

    def wait(self, age: float, polls: int, share: float = 1.0) -> float:
        """Seconds until the next status call for a file that is not ready at this age.

        Where the history has nothing to say, `poll_wait` does.

        Args:
            age: seconds since the upload was accepted.
            polls: status calls so far.
            share: part of the first wait to wait, see `scout_share`.
        """
        if not age < self._horizon:
            return poll_wait(polls, age)
        target = self._targets[bisect_left(self._ages, age)]
        return max(_SHORTEST_WAIT, (target - age) * (share if polls == 0 else 1.0))


@lru_cache(maxsize=1024)
def schedule_for(sketch: Sketch | None, price: float = 1.0) -> PollSchedule:
    """The schedule of this sketch, computed once."""
    return PollSchedule(sketch, price)


def _bin_of(seconds: float) -> int:
    """The bin that ends at or after this time; the last one for whatever is later."""
    return min(max(bisect_left(_EDGES, seconds) - 1, 0), _BINS - 1)


def _spread(weights: Sequence[float], begin: float, end: float) -> Iterator[tuple[int, float]]:
    """One file over the bins of its interval, by their weights and a little evenly."""
    first, last = _bin_of(begin), _bin_of(end)
    if first == last:
        yield first, 1.0
        return
    parts = [
        (min(end, _EDGES[one + 1]) - max(begin, _EDGES[one])) for one in range(first, last + 1)
    ]
    even = _PRIOR / (end - begin)
    shares = [
        part * (even + weights[one] / (_EDGES[one + 1] - _EDGES[one]))
        for one, part in enumerate(parts, first)
    ]
    whole = sum(shares)
    for one, share in enumerate(shares, first):
        yield one, share / whole


def _faded(weights: Sequence[float]) -> tuple[float, ...]:
    total = sum(weights)
    if total <= MEMORY:
        return tuple(weights)
    scale = MEMORY / total
    return tuple(weight * scale for weight in weights)


def _curve(sketch: Sketch) -> tuple[list[float], list[float]]:
    """Ages worth asking at, from 0 on, and the part of files that is ready by each."""
    weights = list(sketch.weights)
    for _ in range(ceil(_SMOOTHING / sketch.total)):
        weights = _smoothed(weights)
    total = sum(weights)
    below = [part / total for part in accumulate(weights, initial=0.0)]
    first = max(0, next(i for i, part in enumerate(below) if part > 0) - 1)
    last = next(i for i, part in enumerate(below) if part >= 1 - _NEGLIGIBLE)
    ages, ready = [0.0], [0.0]
    for position in range(first, last):
        for step in (0.5, 1.0):
            ages.append(_between(_EDGES, position, step))
            ready.append(_between(below, position, step))
    return ages, ready


def _between(values: Sequence[float], position: int, step: float) -> float:
    return values[position] + step * (values[position + 1] - values[position])


def _smoothed(weights: Sequence[float]) -> list[float]:
    """Half of each weight stays, a quarter goes to either side."""
    before = (weights[0], *weights[:-1])
    after = (*weights[1:], weights[-1])
    return [
        (left + 2 * here + right) / 4
        for left, here, right in zip(before, weights, after, strict=True)
    ]


def _placement(ages: Sequence[float], ready: Sequence[float], price: float) -> list[float]:
    """For each age, the next age to ask at."""
    area = [0.0]  # under the curve of readiness: what lag is made of
    for i in range(1, len(ages)):
        area.append(area[-1] + (ready[i] + ready[i - 1]) / 2 * (ages[i] - ages[i - 1]))
    oldest = len(ages) - 1
    costs = [0.0] * len(ages)
    targets = [ages[oldest]] * len(ages)
    for here in range(oldest - 1, -1, -1):
        costs[here], target = _cheapest(here, ages, ready, area, costs, price)
        targets[here] = ages[target]
    return targets


def _cheapest(
    here: int,
    ages: Sequence[float],
    ready: Sequence[float],
    area: Sequence[float],
    costs: Sequence[float],
    price: float,
) -> tuple[float, int]:
    """The least cost from this age on, and the age to ask at next; costs count all files."""
    call = price * (1 - ready[here])
    best, target = float("inf"), here + 1
    for then in range(here + 1, len(ages)):
        lag = area[then] - area[here] - ready[here] * (ages[then] - ages[here])
        if call + lag >= best:
            break  # lag only grows from here
        if call + lag + costs[then] < best:
            best, target = call + lag + costs[then], then
    return best, target
