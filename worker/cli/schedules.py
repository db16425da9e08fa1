"""``schedules``: what Beat fires, when it did and will, and firing one now."""

from __future__ import annotations

import math
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from worker.cli.exit_codes import Flowing
from worker.cli.options import AsJson
from worker.cli.terminal import put, put_json, put_table, say, table
from worker.core.words import counted
from worker.errors import NoDatabase, UsageError

if TYPE_CHECKING:
    from worker.core.schedule import Schedule
    from worker.core.seen import Firing
    from worker.settings import Settings

app = typer.Typer(
    name="schedules", cls=Flowing, help="What Beat fires.", invoke_without_command=True
)


@app.callback()
def schedules(context: typer.Context, *, as_json: AsJson = False) -> None:
    """What Beat fires: each schedule with its last and its next firing."""
    if context.invoked_subcommand is None:
        _list(as_json=as_json)


@app.command("list")
def list_schedules(*, as_json: AsJson = False) -> None:
    """List the schedules with their last and their next firing."""
    _list(as_json=as_json)


@app.command("run")
def run_schedule(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Fire one schedule now: hand in what is new or changed. Its next due time stays."""
    from worker.settings import Settings

    settings = Settings.load()
    chosen = next((one for one in _known(settings) if one.name == name), None)
    if chosen is None:
        raise UsageError(f"no schedule {name!r}; `chatflow-ingest schedules` lists them")
    batch, files = _fire(settings, chosen)
    if as_json:
        put_json({"schedule": name, "batch_id": batch, "files": files})
    elif batch is None:
        say(f"{name}: nothing new")
    else:
        put(batch)
        say(f"{name}: {counted(files, 'file')} handed in")


def _known(settings: Settings) -> tuple[Schedule, ...]:
    from worker.core.schedule import parse_schedules

    if settings.schedules is None:
        raise UsageError("INGEST_SCHEDULES is not set: there are no schedules")
    return parse_schedules(settings.schedules_text(), settings.schedules)


def _fire(settings: Settings, schedule: Schedule) -> tuple[str | None, int]:
    """Fire it in this process; the batch, if anything was new, and how many files it got."""
    from worker.bootstrap import open_store
    from worker.cli.waking import firing

    settings.profile(schedule.profile, complete=False)
    with closing(open_store(settings)) as store:
        return firing(settings, store, schedule)


def _list(*, as_json: bool) -> None:
    from worker.settings import Settings

    settings = Settings.load()
    known, (now, last) = _known(settings), _firings(settings)
    rows = [_described(one, last.get(one.name), now) for one in known]
    if as_json:
        put_json({"schedules": rows})
    else:
        shown = ("name", "cron", "timezone", "profile", "last", "next")
        put_table(table(*shown, rows=([row[name] for name in shown] for row in rows)))


def _firings(settings: Settings) -> tuple[float, dict[str, Firing]]:
    """The database's clock and what was fired; ours, and nothing, while there is no database."""
    from worker.bootstrap import open_existing

    try:
        with closing(open_existing(settings)) as store:
            return store.now(), store.firings()
    except NoDatabase:
        return datetime.now(UTC).timestamp(), {}


def _described(schedule: Schedule, last: Firing | None, now: float) -> dict[str, Any]:
    from worker.core.schedule import next_due

    due = next_due(schedule, now)
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "profile": schedule.profile,
        "paths": list(schedule.paths),
        "last": None if last is None else _told(last.due, schedule),
        "last_fired_at": None if last is None else _told(last.fired_at, schedule),
        "next": None if math.isinf(due) else _told(datetime.fromtimestamp(due, UTC), schedule),
    }


def _told(moment: datetime, schedule: Schedule) -> str:
    return moment.astimezone(ZoneInfo(schedule.timezone)).isoformat(timespec="seconds")
