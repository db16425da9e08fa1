"""``notify``: what batches tell when they are finished."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

import typer

from worker.cli.exit_codes import Flowing
from worker.cli.naming import find_batch
from worker.cli.options import AsJson, OptionalBatch
from worker.cli.terminal import put, put_json, put_table, say, table
from worker.core.words import counted, duration_text
from worker.errors import NoDatabase

if TYPE_CHECKING:
    from worker.core.seen import NotificationEntry

app = typer.Typer(
    name="notify", cls=Flowing, help="Notifications of finished batches.", no_args_is_help=True
)


@app.callback()
def notify() -> None:
    """Notifications of finished batches."""


@app.command("list")
def list_notifications(*, as_json: AsJson = False) -> None:
    """List the notifications that wait and those that are dead, the newest first."""
    from worker.bootstrap import open_existing
    from worker.settings import Settings

    try:
        with closing(open_existing(Settings.load())) as store:
            entries = store.undelivered()
    except NoDatabase:
        entries = []
    if as_json:
        put_json({"notifications": [_described(entry) for entry in entries]})
    elif entries:
        put_table(table("batch", "state", "attempts", "to", "last error", rows=map(_row, entries)))
    else:
        say("every notification has been delivered")


def _described(entry: "NotificationEntry") -> dict[str, Any]:
    from worker.core.report import iso

    return {
        "batch_id": str(entry.batch_id),
        "state": _state(entry),
        "target": entry.target,
        "attempts": entry.attempts,
        "created_at": iso(entry.created_at),
        "due_in_seconds": entry.due_in,
        "dead_at": None if entry.dead_at is None else iso(entry.dead_at),
        "last_error": entry.last_error,
    }


def _row(entry: "NotificationEntry") -> tuple[object, ...]:
    to = entry.target.get("url") or "@".join(
        entry.target[key] for key in ("task", "queue") if entry.target.get(key)
    )
    due = "" if entry.due_in is None else f", in {duration_text(entry.due_in)}"
    return entry.batch_id, _state(entry) + due, entry.attempts, to, entry.last_error


def _state(entry: "NotificationEntry") -> str:
    return "waits" if entry.dead_at is None else "dead"


@app.command()
def replay(batch: OptionalBatch = None, *, as_json: AsJson = False) -> None:
    """Send again what could not be delivered: of one batch, or of all."""
    from worker.bootstrap import open_existing
    from worker.settings import Settings

    settings = Settings.load()
    with closing(open_existing(settings)) as store:
        wanted = None if batch is None else find_batch(store, batch)
        count = store.replay(wanted)
    if as_json:
        put_json({"replayed": count})
    else:
        put(f"{counted(count, 'notification')} to be sent again")
    if count and not settings.is_embedded:
        from worker.cli.waking import wake_notify

        wake_notify(settings)
