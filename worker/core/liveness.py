"""Who is alive: signs of life, who may judge by them, and which leases end with their holder.

A lease has to outlast every pause of a healthy worker, so it is long, and a dead worker's files
would wait for its end. So each worker says every other second that it lives, and another one ends
the leases of who has been silent for long. A worker that was merely frozen finds its files taken:
its token is no longer on them.
"""

from __future__ import annotations

from uuid import UUID

from worker.core.model.ids import LeaseToken

BEAT_EVERY = 2.0
"""Seconds between two signs of life."""

SILENT_AFTER = 10.0
"""Seconds without one, by the database's clock, after which a worker is taken for dead: four in a
row may come to nothing, on a machine that is busy or a database that is slow."""

_HALF = 8


def lease_token(holder: UUID | None, chance: UUID) -> LeaseToken:
    """A token that tells whose it is: the holder's first half, and a second one by chance.

    So a holder's leases stand together in the index of tokens, and no row says more than it did.
    """
    if holder is None:
        return LeaseToken(chance)
    return LeaseToken(UUID(bytes=holder.bytes[:_HALF] + chance.bytes[_HALF:]))


def tokens_of(holder: UUID) -> tuple[LeaseToken, LeaseToken]:
    """The first and the last token that can be this holder's."""
    half = holder.bytes[:_HALF]
    first, last = UUID(bytes=half + b"\0" * _HALF), UUID(bytes=half + b"\xff" * _HALF)
    return LeaseToken(first), LeaseToken(last)


class Steadiness:
    """Whether one's own signs of life have come without a gap for long enough to judge others'.

    Where the database was away, or this process asleep, everybody has been silent; who wakes up
    first must not take the others for dead.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._last = 0.0

    def beat(self, now: float) -> bool:
        """A sign of life was written at `now`, seconds of a clock that never steps back.

        Returns whether this process may judge.
        """
        if self._since is None or now - self._last > SILENT_AFTER / 2:
            self._since = now
        self._last = now
        return now - self._since >= SILENT_AFTER
