"""Limits over the whole fleet: fair shares of the uploads in flight, and buckets of calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RENEWED_AT = 2 / 3
"""The part of its time that is left when a share that is still right is said again."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many uploads a holder may have in flight, and how many it had when it last said so."""

    holder: str
    share: int
    busy: int = 0


def fair_share(others: Sequence[Share], mine: Share, ceiling: int) -> int:
    """How many uploads a holder may have in flight now.

    Uploads in flight can't be called back: who has too many keeps them until they end, and a
    newcomer waits for that. Over all holders it is never more than the ceiling.

    Args:
        others: the other holders that were heard of lately.
        mine: this holder, with its present share (0 for a newcomer) and uploads in flight.
        ceiling: uploads in flight over all holders at most.
    """
    names = sorted([mine.holder, *(other.holder for other in others)])
    fair, left_over = divmod(ceiling, len(names))
    wanted = fair + (names.index(mine.holder) < left_over)
    kept = min(mine.busy, mine.share)
    free = ceiling - sum(max(other.share, other.busy) for other in others)
    return max(0, min(max(wanted, kept), free))


def still_fits(known: Share, busy: int, share: int, left: float, ttl: float) -> bool:
    """Whether others still know all that they need of a holder: no need to tell them anew.

    Args:
        known: what the holder said last.
        busy: its uploads in flight now.
        share: what it may have in flight now.
        left: seconds until what it said is forgotten.
        ttl: for how many seconds it holds.
    """
    in_use = max(known.share, known.busy)
    return share == known.share and max(share, busy) == in_use and left > ttl * RENEWED_AT


def burst(rate: float) -> float:
    """What a bucket holds: one second's calls, and at least one, or it would never be enough."""
    return max(1.0, rate)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a bucket gave: so many calls, or how long to wait; and what it holds now."""

    granted: int
    wait: float
    tokens: float


def take(tokens: float, elapsed: float, rate: float, want: int) -> Taken:
    """Take up to `want` calls from a bucket.

    Args:
        tokens: what it held `elapsed` seconds ago.
        elapsed: seconds.
        rate: calls a second that it is filled with.
        want: calls.
    """
    tokens = min(burst(rate), tokens + elapsed * rate)
    granted = max(0, min(want, int(tokens)))
    return Taken(granted, 0.0 if granted or want <= 0 else (1.0 - tokens) / rate, tokens - granted)
