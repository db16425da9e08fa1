"""How fast a batch moves, and how long it will still take. Pure: the clock is an argument."""

from __future__ import annotations

from collections import deque

WINDOW = 30.0
"""Seconds that the rate looks back: it follows a change, but not every hiccup."""


class Pace:
    """The rate over the last half minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, done: int) -> None:
        """So many files are done at this moment (seconds of any steady clock)."""
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Files a second, 0 before there is anything to tell it by."""
        if len(self._seen) < 2:
            return 0.0
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return max(after - before, 0) / (end - start) if end > start else 0.0

    def eta(self, left: int) -> float | None:
        """Seconds until so many more files are done, None when nothing moves."""
        return eta(self.rate, left)


def eta(rate: float, left: int) -> float | None:
    """Seconds that `left` files take at `rate` files a second, None when nothing moves."""
    if left == 0:
        return 0.0
    return left / rate if rate > 0 else None


def rate_text(rate: float) -> str:
    """Files a second, or a minute when they are few."""
    return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"


def duration_text(seconds: float) -> str:
    """Seconds in the two largest units that say something."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {second:02} s"
    hours, minute = divmod(minutes, 60)
    return f"{hours} h {minute:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
