"""How much a shift takes in hand at once: enough to keep busy, no more than it is soon done with.

What is in hand is seen as it was when it was claimed, and waits for nobody else meanwhile; where
a rate is limited, a few seconds' worth of calls is all that makes sense to hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from worker.core.rules import CLAIM_AHEAD, Rules
from worker.core.timings import Timings

SUBMIT_SLICE = 120.0
POLL_SLICE = 30.0
"""Seconds that a shift goes on claiming: long beside what it costs to start one. Uploads may be
long, and a shift that ends waits for its last one."""

STATUS_CALLS_AT_ONCE = 256
SECONDS_IN_HAND = 4.0
LEAST_IN_HAND = 8


@dataclass(frozen=True, slots=True)
class ShiftLimits:
    """How a shift goes about it; times in seconds.

    Attributes:
        room: files in hand at most.
        claim: files in one claim at most.
        least: no claim while there is room for fewer.
        pause: between two claims, so that trickling work is claimed in groups.
        linger: how long to wait for work that is not due yet, instead of ending.
        slice: how long to go on claiming.
        grace: how long what is in hand may take to end once the process is told to stop.
        timings: how long a claim holds, and how often that is renewed.
    """

    room: int
    claim: int
    least: int = 1
    pause: float = 0.1
    linger: float = 2.0
    slice: float = 20.0
    grace: float = 25.0
    timings: Timings = field(default_factory=Timings)


def submit_limits(rules: Rules, grace: float) -> ShiftLimits:
    """The pace of uploads: large claims fill dialog sessions well, half of them is at work."""
    room = _within(rules.rate_limit, 4 * rules.max_concurrent_uploads + 32)
    return ShiftLimits(
        room=room,
        claim=room,
        least=room // 2,
        slice=SUBMIT_SLICE,
        grace=grace,
        timings=rules.timings,
    )


def poll_limits(rules: Rules, grace: float) -> ShiftLimits:
    """The pace of status calls."""
    room = _within(rules.poll_rate_limit, STATUS_CALLS_AT_ONCE)
    return ShiftLimits(
        room=room,
        claim=room // 2,
        pause=CLAIM_AHEAD,
        slice=POLL_SLICE,
        grace=grace,
        timings=rules.timings,
    )


def _within(rate: float | None, room: int) -> int:
    """As much room, or what a limited rate works off within some seconds."""
    if rate is None:
        return room
    return min(room, max(LEAST_IN_HAND, int(rate * SECONDS_IN_HAND)))
