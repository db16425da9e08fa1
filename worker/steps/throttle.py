"""What holds calls back in this process: freezes, a service out of reach, limited rates."""

from __future__ import annotations

from collections.abc import Callable, Collection

import anyio

from worker.errors import Channel
from worker.steps.grouping import persistently
from worker.steps.loop import clock


class LocalGate:
    """This process's copy of a profile's freezes, so that calls in hand stop at once."""

    def __init__(self) -> None:
        self._until: dict[Channel, float] = {}

    def close(self, channels: Collection[Channel], seconds: float) -> None:
        """Hold these calls for so many seconds, at least."""
        until = clock() + seconds
        for channel in channels:
            self._until[channel] = max(until, self._until.get(channel, 0.0))

    def left(self, channel: Channel) -> float:
        """Seconds until this kind of call may be made, 0 when it may be now."""
        until = self._until.get(channel)
        return 0.0 if until is None else max(0.0, until - clock())


class Reachability:
    """For how long the service has been out of reach, without a call that got through."""

    def __init__(self) -> None:
        self._since: float | None = None

    def reached(self) -> None:
        """A call got an answer, whatever it said."""
        self._since = None

    def missed(self) -> float:
        """A call got none; returns the seconds since the first of these misses."""
        now = clock()
        if self._since is None:
            self._since = now
        return now - self._since


class RateLimiter:
    """Calls per second over the whole fleet, taken from the shared bucket a few at a time."""

    def __init__(self, take: Callable[[int], tuple[int, float]], rate: float | None) -> None:
        self._take = take
        self._chunk = max(1, int((rate or 0.0) / 5))  # what 0.2 s of calls need: few round trips
        self._unlimited = rate is None
        self._left = 0
        self._lock = anyio.Lock()

    async def spend(self) -> None:
        """Wait until one call may be made."""
        if self._unlimited:
            return
        async with self._lock:
            while self._left < 1:
                self._left, wait = await persistently(self._take, self._chunk)
                if self._left < 1:
                    await anyio.sleep(wait)
            self._left -= 1
