"""How long a batch will still take: a range, from its pace and from how long such files take.

Pure arithmetic on what is known at one moment; all times are seconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from worker.core.ready_times import ENOUGH, Sketch
from worker.core.seen import Flight

_QUICK, _SLOW = 0.75, 1.6
"""How far the pace of what is still to be uploaded may differ from the pace so far."""


def usual_times(sketches: Iterable[Sketch]) -> tuple[float, float] | None:
    """The median and the 95th percentile of the times to ready, None without enough history."""
    merged = Sketch()
    for sketch in sketches:
        merged = merged.merge(sketch)
    if merged.total < ENOUGH:
        return None
    return merged.quantile(0.5), merged.quantile(0.95)


def time_left(
    *,
    waiting: int,
    done: int,
    elapsed: float,
    flight: Flight | None,
    usual: tuple[float, float] | None,
) -> tuple[float, float] | None:
    """The least and the most seconds until every file has ended; None when nothing tells.

    Args:
        waiting: files that were not uploaded yet.
        done: files that have ended.
        elapsed: seconds since the batch began.
        flight: the files at the service, None when there is none.
        usual: see `usual_times`.
    """
    if not waiting and flight is None:
        return 0.0, 0.0
    if waiting and not done:
        return None
    low = high = 0.0
    if waiting:
        pace = waiting * elapsed / done
        low, high = _QUICK * pace, _SLOW * pace
    last = _last_one(0.0 if waiting or flight is None else flight.newest, usual, flight)
    if last is None:
        flying = 0 if flight is None else flight.count
        rest = flying * elapsed / done if done else None
        return None if rest is None else (low + _QUICK * rest, high + _SLOW * rest)
    return low + last[0], high + last[1]


def _last_one(
    age: float, usual: tuple[float, float] | None, flight: Flight | None
) -> tuple[float, float] | None:
    """How long a file of this age still takes; beyond its kind's usual time its deadline tells."""
    if usual is None:
        return None
    median, late = usual
    least, most = max(0.0, median - age), max(0.0, late - age)
    if flight is None:
        return least, most
    if age < late:
        return min(least, flight.deadline), min(most, flight.deadline)
    return 0.0, flight.deadline
