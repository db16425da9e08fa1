"""How fast a batch moves, and how long it will still take. Pure: the clock is an argument."""

from __future__ import annotations

from collections import deque

WINDOW = 30.0
"""Seconds that the rate looks back: it follows a change, but not every hiccup."""


SOON = 10.0
"""Seconds without progress after which nothing seems to move."""


class RateMeter:
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

    @property
    def is_full(self) -> bool:
        """Whether it has seen so much time that a rate of 0 means that nothing moves."""
        return len(self._seen) > 1 and self._seen[-1][0] - self._seen[0][0] >= SOON

    def eta(self, left: int) -> float | None:
        """Seconds until so many more files are done, None when nothing moves."""
        return eta(self.rate, left)


def eta(rate: float, left: int) -> float | None:
    """Seconds that `left` files take at `rate` files a second, None when nothing moves."""
    if left == 0:
        return 0.0
    return left / rate if rate > 0 else None
