"""Which faults show on a call: each keeps count of the calls that it might have met."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from worker.simulator.mishaps import LimitsFault, SlowFault

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from worker.simulator.mishaps import AnyFault
    from worker.simulator.scenario import Scenario

Endpoint = Literal["handshake", "dialog", "upload", "status"]


@dataclass(slots=True)
class Watch:
    """One fault with its count of calls."""

    fault: AnyFault
    dice: random.Random
    shown: int = 0
    calls: Counter[Hashable] = field(default_factory=Counter)

    def shows(self, file_name: str, key: Hashable, elapsed: float) -> bool:
        """Count the call if it is one of the fault's, and say whether the fault shows on it."""
        if not self._meets(file_name, elapsed):
            return False
        counted = key if self.fault.per_file else None
        self.calls[counted] += 1
        if not (self._is_its_turn(self.calls[counted]) and self._is_its_luck()):
            return False
        self.shown += 1
        return True

    def _meets(self, file_name: str, elapsed: float) -> bool:
        fault = self.fault
        if fault.between is not None and not fault.between[0] <= elapsed < fault.between[1]:
            return False
        return fault.file_name is None or fnmatchcase(file_name, fault.file_name)

    def _is_its_turn(self, call: int) -> bool:
        fault = self.fault
        return (
            (fault.calls is None or call in fault.calls)
            and (fault.first is None or call <= fault.first)
            and (fault.every is None or call % fault.every == 0)
        )

    def _is_its_luck(self) -> bool:
        return self.fault.probability is None or self.dice.random() < self.fault.probability


@dataclass(frozen=True, slots=True)
class Trouble:
    """What shows on one call: seconds of slowness, changed limits, and at most one fault more."""

    delay: float = 0.0
    limits: tuple[tuple[str, int], ...] = ()
    fault: AnyFault | None = None


CALM = Trouble()


class Faults:
    """The faults of a scenario, by endpoint."""

    def __init__(self, scenario: Scenario) -> None:
        dice = random.Random(scenario.seed)  # noqa: S311 - luck, not secrets
        self.watches = [Watch(fault, dice) for fault in scenario.faults]
        self._by_endpoint: dict[Endpoint, Sequence[Watch]] = {
            endpoint: [watch for watch in self.watches if watch.fault.on == endpoint]
            for endpoint in ("handshake", "dialog", "upload", "status")
        }

    def meet(
        self, endpoint: Endpoint, elapsed: float, *, file_name: str = "", key: Hashable = None
    ) -> Trouble:
        """What shows on this call; the first fault that is not mere slowness or limits wins."""
        watches = self._by_endpoint[endpoint]
        return _trouble(watches, file_name, key, elapsed) if watches else CALM


def _trouble(watches: Sequence[Watch], file_name: str, key: Hashable, elapsed: float) -> Trouble:
    delay, limits, found = 0.0, dict[str, int](), None
    for watch in watches:
        match watch.fault:
            case SlowFault() as slow if watch.shows(file_name, key, elapsed):
                delay += slow.seconds
            case LimitsFault() as changed if watch.shows(file_name, key, elapsed):
                limits |= changed.upload_max_num
            case SlowFault() | LimitsFault():
                pass
            case fault if found is None and watch.shows(file_name, key, elapsed):
                found = fault
            case _:
                pass
    return Trouble(delay, tuple(limits.items()), found)
