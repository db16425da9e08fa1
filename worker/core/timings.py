"""How the processes of a fleet keep time with each other; durations are seconds."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 3600.0


@dataclass(frozen=True, slots=True)
class Timings:
    """How long a process may be silent before others act for it.

    Attributes:
        lease: how long a claim holds without a renewal; a file whose worker died unseen is taken
            up after that.
        renew_every: between two renewals; three may fail before a lease is lost.
        settle_delay: how long a lost upload reply may still turn up before the file is decided on.
        share_ttl: how long a silent process keeps its share of the uploads in flight.
        wake_again: how long a wake-up that was sent is trusted before another follows.

    Raises:
        ValueError: a value that is no sensible time, or renewals too rare for the lease.
    """

    lease: float = 60.0
    renew_every: float = 15.0
    settle_delay: float = 5.0
    share_ttl: float = 15.0
    wake_again: float = 2.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0.0 <= getattr(self, name) <= LONGEST:
                raise ValueError(f"{name} must be between 0 and {LONGEST:g} seconds")
        if not 0.0 < 3 * self.renew_every < self.lease:
            raise ValueError("three renewals must fit into a lease: renew_every is too long")
