"""Everything looked at in turn, and said as it is found."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from worker.cli.checks import (
    Check,
    clock_check,
    database_check,
    faults,
    root_check,
    service_checks,
)
from worker.cli.exit_codes import NOT_ALL, OK
from worker.cli.fitting import folded
from worker.cli.fleet_checks import broker_checks, fleet_checks
from worker.cli.interruption import interruptible
from worker.cli.terminal import put, put_json, shown
from worker.cli.trying import Attempt
from worker.core.words import counted
from worker.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from worker.settings import Settings

_LEFT = 6 + 18
"""Columns before a check's words: the verdict and the name."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be tried beyond looking: a file sent to the profile's service, and kept."""

    profile: str
    canary: Path | None = None
    record: Path | None = None


def diagnose(wish: Wish, *, as_json: bool) -> int:
    """Look at everything and say it; returns the exit code."""
    attempt = None
    if wish.canary is not None or wish.record is not None:
        attempt = Attempt(wish.profile, wish.canary, wish.record)
    checks = []
    with interruptible():
        for check in _timed(doctor_checks(attempt)):
            checks.append(check)
            if not as_json:
                _put(check)
    well = all(check.ok for check in checks)
    found = () if attempt is None else attempt.differences
    if as_json:
        put_json({"ok": well, "checks": [asdict(check) for check in checks]} | _differing(attempt))
    elif wish.record is not None and attempt is not None and attempt.was_recorded:
        _put_lines(
            f"{counted(len(found), 'difference')} from the description:"
            if found
            else "No difference"
        )
        for difference in found:
            _put_lines(f"* {difference.words}", difference.setting)
    return OK if well else NOT_ALL


def _timed(checks: Iterator[Check]) -> Iterator[Check]:
    began = monotonic()
    for check in checks:
        yield replace(check, seconds=round(monotonic() - began, 3))
        began = monotonic()


def _differing(attempt: Attempt | None) -> dict[str, Any]:
    if attempt is None or not attempt.was_recorded:
        return {}
    return {"differences": [asdict(difference) for difference in attempt.differences]}


def _put(check: Check) -> None:
    verdict = "ok  " if check.ok else "FAIL"
    words = f"{shown(check.detail)} ({check.seconds:.2f} s)"
    cure = check.cure if not check.ok else ""
    line = f"{verdict}  {check.name:<16}  {words}" + (f" -> {shown(cure)}" if cure else "")
    put(folded(line, " " * _LEFT, sys.stdout))


def _put_lines(words: str, setting: str = "") -> None:
    put(folded(shown(words) + (f" -> {shown(setting)}" if setting else ""), "  ", sys.stdout))


def doctor_checks(attempt: Attempt | None = None) -> Iterator[Check]:
    """Every check, as it is made; without a configuration the others make no sense."""
    from worker.settings import Settings

    try:
        settings = Settings.load()
    except ConfigurationError as error:
        yield from faults("configuration", error)
        return
    names = settings.profile_names()
    if attempt is not None and attempt.profile not in names:
        raise UsageError(f"--profile: no profile {attempt.profile!r}; there are {', '.join(names)}")
    yield Check("configuration", ok=True, detail=f"profiles: {', '.join(names)}")
    yield from _places(settings)
    for name in names:
        if attempt is not None and name == attempt.profile:
            yield from attempt.checks(settings)
        else:
            yield from service_checks(settings, name)
    for root in settings.roots:
        yield root_check(settings, root)


def _places(settings: "Settings") -> Iterator[Check]:
    database = database_check(settings)
    yield database
    if database.ok:
        yield clock_check(settings)
    yield from broker_checks(settings)
    if database.ok:
        yield from fleet_checks(settings)
