"""A profile's gate: a circuit breaker for each kind of call, shared by all workers.

Open, frozen until a moment, then thawing: one caller probes and nobody else calls until the
probe went well. A pause holds the whole profile until a human has mended something.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

PROBE_SECONDS = 30.0
"""How long a probe keeps everybody else waiting before another one may be tried."""

PROBE_EVERY = 60.0
"""Seconds between two probes of a paused profile; no claimer looks at it again any sooner."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Where the calls of one kind stand.

    Attributes:
        state: `thawing` once a freeze is over but no call has gone well yet.
        wait: seconds until it is worth looking again.
        probe: the claim whose uploads may pass while thawing.
    """

    state: Literal["open", "frozen", "thawing", "paused"]
    wait: float = 0.0
    probe: UUID | None = None

    @property
    def probing(self) -> bool:
        """Whether the next claim is the probe, of one file."""
        return self.state == "thawing" and self.wait <= 0

    @property
    def closed(self) -> bool:
        """Whether nothing may be claimed now."""
        return self.state in {"paused", "frozen"} or self.wait > 0

    def admits(self, token: UUID) -> bool:
        """Whether a call under this lease may be made."""
        match self.state:
            case "open":
                return True
            case "thawing":
                return token == self.probe
            case "frozen" | "paused":
                return False


OPEN = Gate("open")
PAUSED = Gate("paused", PROBE_EVERY)


@dataclass(frozen=True, slots=True)
class Freeze:
    """A freeze as it is remembered; `until` is None when there is none, or it was thawed.

    `probe_until` and `probe` tell of the caller that was last let through to probe.
    """

    until: datetime | None = None
    strikes: int = 0
    probe_until: datetime | None = None
    probe: UUID | None = None


def judged(freeze: Freeze | None, now: datetime) -> Gate:
    """Where the calls stand at the moment `now`."""
    if freeze is None or freeze.until is None:
        return OPEN
    if freeze.until > now:
        return Gate("frozen", _left(freeze.until, now))
    return Gate("thawing", _left(freeze.probe_until, now), freeze.probe)


def struck(freeze: Freeze, now: datetime, until: datetime) -> Freeze:
    """The freeze after a call that the service turned away asks for one until `until`.

    Calls in flight together hit the same wall together: while frozen, that is one strike. A
    longer freeze stays, and whoever was probing is not any more.
    """
    if freeze.until is not None and freeze.until > now:
        return Freeze(max(until, freeze.until), freeze.strikes)
    return Freeze(until, freeze.strikes + 1)


def _left(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else max(0.0, (moment - now).total_seconds())
