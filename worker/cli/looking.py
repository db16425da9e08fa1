"""Batches as they stand: one, or the list; once, or again and again."""

import sys
import time
from typing import TYPE_CHECKING

from worker.cli.program import command
from worker.cli.progress import progress
from worker.cli.terminal import columns, console_for, put_json, put_table, say
from worker.cli.views import batch_table, batches_table
from worker.core.lifecycle import BatchState
from worker.core.report import detailed_object, status_object
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.core.model.batches import BatchStatus
    from worker.core.model.ids import BatchId
    from worker.ports.store import Store

WATCH_EVERY = 1.0
"""Seconds between two looks of `--watch`."""


def _watched(store: "Store", batch: "BatchId") -> "BatchStatus":
    with progress(store.details) as report:
        while True:
            status = store.status(batch)
            report(status)
            if status.state is not BatchState.RUNNING:
                return status
            time.sleep(WATCH_EVERY)


def put_batch(store: "Store", batch: "BatchId", *, as_json: bool, watch: bool) -> None:
    """One batch as it stands, or, watched, once it is finished."""
    status = _watched(store, batch) if watch else store.status(batch)
    details = store.details(batch)
    if as_json:
        put_json(detailed_object(status, details))
    else:
        put_table(batch_table(status, details, store.now()))


def put_list(batches: "list[BatchStatus]", limit: int, *, as_json: bool) -> None:
    """List these batches; one more than the limit says that there are more."""
    listed = batches[:limit] if limit else batches
    more = len(batches) > len(listed)
    if as_json:
        put_json({"batches": [status_object(status) for status in listed], "more": more})
        return
    if listed:
        put_table(batches_table(listed, columns()))
    else:
        say("no batch yet: `chatflow-ingest run` or `submit` makes one")
    if more:
        say(f"these are the newest {limit}; all: {command('status', '--limit', 0)}")


def watch_list(store: "Store", limit: int) -> None:
    """List batches, the newest first, again and again until somebody stops it."""
    from rich.live import Live

    if not sys.stdout.isatty():
        raise UsageError("--watch: name a batch, or watch the list on a terminal")
    with Live(console=console_for(terminal=True)) as live:
        while True:
            live.update(batches_table(store.batches(limit or None), columns()))
            time.sleep(WATCH_EVERY)
