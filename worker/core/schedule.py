"""Schedules: what the INGEST_SCHEDULES file says, and when each of them is due.

A schedule whose hour field is `*` follows real time: "0 * * * *" fires every hour, also in the
hour that a clock change repeats. Any other schedule names times of the day and follows the wall
clock: it fires when the clock first shows that time or, for a time that a clock change skips, the
first later one; so a skipped time fires once right after the gap, a repeated one only the first
time.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from worker.core.addresses import CURE_OF_SECRETS, bare, has_secret, place, scheme_of
from worker.errors import ConfigurationError

VARIABLE = "INGEST_SCHEDULES"
MOVE = "move:"

_TAKEN_AWAY = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "sftp", "ssh"})
_FIELD_COUNT = 5
_HOUR = 3600
_ANY_DAY = datetime(2024, 1, 1)  # noqa: DTZ001 - wall time: only whether the fields ever match


def _cron(value: str) -> str:
    if len(value.split()) != _FIELD_COUNT:
        raise ValueError(f"write five fields (minute hour day month weekday), not {value!r}")
    try:
        ever = next(CronSim(value, _ANY_DAY), None)
    except CronSimError as error:
        raise ValueError(f"{value!r} is not a possible time: {error}") from None
    if ever is None:
        raise ValueError(f"{value!r} never occurs")
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"unknown time zone {value!r}") from None
    return value


def _paths(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not all(path.strip() for path in value):
        raise ValueError("name at least one path, and no empty one")
    if any(map(has_secret, value)):
        raise ValueError(CURE_OF_SECRETS)
    return value


def _after(value: str) -> str:
    if value in {"leave", "delete"}:
        return value
    if has_secret(value.removeprefix(MOVE)):
        raise ValueError(CURE_OF_SECRETS)
    if not value.startswith(MOVE):
        raise ValueError(f'write "leave", "delete" or "move:/folder", not {value!r}')
    if "://" in value:
        return value
    if not PurePosixPath(value.removeprefix(MOVE)).is_absolute():
        raise ValueError(f"the folder of {value!r} must be an absolute path")
    return value


class Schedule(BaseModel):
    """One schedule: files that are handed in as a batch at every due time.

    Attributes:
        cron: five fields, read in `timezone`.
        paths: files, folders and URLs.
        glob: pattern of the file names below a folder; None takes every file.
        category: None chooses by format.
        stable_for: seconds a file must not have changed to be handed in.
        after: what becomes of a file whose result is stored: "leave", "delete" or "move:DIR", a
            folder or a URL in the same store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    cron: Annotated[str, AfterValidator(_cron)]
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    paths: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_paths)]
    glob: Annotated[str, Field(min_length=1)] | None = None
    recursive: bool = False
    profile: Annotated[str, Field(min_length=1)] = "default"
    category: Annotated[str, Field(min_length=1)] | None = None
    stable_for: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)] = 5.0
    after: Annotated[str, AfterValidator(_after)] = "leave"

    @model_validator(mode="after")
    def _rule_fits_paths(self) -> Schedule:
        if self.after == "leave":
            return self
        target = self.after.removeprefix(MOVE) if self.after.startswith(MOVE) else None
        for path in self.paths:
            if "://" in path and scheme_of(path) not in _TAKEN_AWAY:
                raise ValueError(
                    f"after: {self.after!r} works on local files, S3, Google's and Azure's stores "
                    f"and SFTP, not on {bare(path)}"
                )
            if target is not None and store_of(path) != store_of(target):
                raise ValueError(f"after: {self.after!r} is in another store than {bare(path)}")
            if target is not None and self._watches(path, target):
                raise ValueError(f"after: {self.after!r} moves files into the watched {path}")
        return self

    def _watches(self, path: str, folder: str) -> bool:
        watched, target = _steps(path), _steps(folder)
        return target == watched or (self.recursive and target[: len(watched)] == watched)


def _steps(path: str) -> tuple[str, ...]:
    return (place(path) or ()) if "://" in path else PurePosixPath(path).parts


def store_of(path: str) -> tuple[str, ...]:
    """What one move can't leave: this machine (), a kind of store, one user's files on a host."""
    parts = place(path) if "://" in path else None
    return () if parts is None else parts[:2]


def parse_schedules(text: str, file: str) -> tuple[Schedule, ...]:
    """Read the schedules file.

    Args:
        text: its contents, TOML with a `[[schedule]]` table per schedule.
        file: its name, for the faults.

    Raises:
        ConfigurationError: a line per fault, each naming the file, the schedule and the field.
    """
    where = f"{VARIABLE} {file}"
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError is one, an integer of 5,000 digits another
        raise ConfigurationError(f"{where}: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"{where}: nested too deeply") from None
    faults = [f"{where}: unknown table or key {key!r}" for key in document if key != "schedule"]
    schedules = list(_read_tables(document.get("schedule", []), where, faults))
    if faults:
        raise ConfigurationError(*faults)
    return tuple(schedules)


def _read_tables(tables: Any, where: str, faults: list[str]) -> Iterator[Schedule]:
    if not isinstance(tables, list):
        faults.append(f"{where}: begin every schedule with [[schedule]], in double brackets")
        return
    names: set[str] = set()
    for number, table in enumerate(tables, 1):
        place = f"{where}: {_title(table, number)}"
        try:
            schedule = Schedule.model_validate(table)
        except ValidationError as error:
            faults.extend(f"{place}: {line}" for line in _lines(error))
            schedule = None
        name = table.get("name") if isinstance(table, dict) else None
        if isinstance(name, str) and name in names:
            faults.append(f"{place}: name: used more than once")
        names.add(str(name))
        if schedule is not None:
            yield schedule


def _title(table: Any, number: int) -> str:
    name = table.get("name") if isinstance(table, dict) else None
    return f"schedule {name!r}" if isinstance(name, str) else f"schedule number {number}"


_WORDS = {"extra_forbidden": "no such field", "missing": "not set"}


def _lines(error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_context=False):
        message = _WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        place = str(fault["loc"][0]) + ": " if fault["loc"] else ""
        yield f"{place}{message}"


def next_due(schedule: Schedule, after: float) -> float:
    """The first due time later than `after`, both POSIX seconds; infinity when there is none."""
    moments = (moment.timestamp() for moment in _moments(schedule, after))
    return next((due for due in moments if due > after), math.inf)


def last_due_before(schedule: Schedule, now: float) -> float:
    """The newest due time that is not later than `now`, both POSIX seconds.

    It is found through `next_due` alone, so that the two can't disagree.
    """
    reach = _HOUR
    while next_due(schedule, now - reach) > now:
        reach *= 4
    early, late = math.floor(now) - reach, math.floor(now)
    while late - early > 1:
        middle = (early + late) // 2
        if next_due(schedule, middle) <= now:
            early = middle
        else:
            late = middle
    return next_due(schedule, early)


def _moments(schedule: Schedule, after: float) -> CronSim:
    """Due times from `after` on; after a clock change back, a few may be earlier than it.

    The library adjusts for clock changes only where neither minute nor hour begins with a star.
    """
    minute, hour, *days = schedule.cron.split()
    if hour != "*":
        minute, hour = minute.replace("*", "0-59"), hour.replace("*", "0-23")
    start = datetime.fromtimestamp(after, ZoneInfo(schedule.timezone))
    return CronSim(" ".join([minute, hour, *days]), start)


_WHAT_IS_TAKEN_AWAY = {"paths", "glob", "recursive", "after"}


def unsanctioned(asked: Sequence[Schedule], own: Sequence[Schedule]) -> list[Schedule]:
    """The schedules that would delete or move files without this process's own leave.

    A schedule reaches a worker in a message, which whoever may publish to the broker can send. What
    it deletes or moves has therefore to stand in the worker's own configuration too: the same
    rule for the same files. Its name and its due times are no matter.
    """
    leave = [each.model_dump(include=_WHAT_IS_TAKEN_AWAY) for each in own]
    return [
        each
        for each in asked
        if each.after != "leave" and each.model_dump(include=_WHAT_IS_TAKEN_AWAY) not in leave
    ]
