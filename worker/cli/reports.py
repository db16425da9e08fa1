"""The commands that only look: status, results, show."""

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.adapters.exports import Format, write_results
from worker.cli.interruption import interruptible
from worker.cli.options import AsJson, BatchArgument, OptionalBatch, batch_id, file_id
from worker.cli.output import destination
from worker.cli.progress import progress
from worker.cli.terminal import console_for, put, put_json, put_table
from worker.cli.views import batch_table, batches_table, story_object, story_parts
from worker.core.lifecycle import BatchState, FileState
from worker.core.report import status_object
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.core.model import BatchId, BatchStatus
    from worker.ports import Store

WATCH_EVERY = 1.0
"""Seconds between two looks of `--watch`."""

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Look again until it is finished.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write to this file, which appears once it is whole, instead of stdout.",
        show_default=False,
    ),
]
States = Annotated[
    list[FileState] | None,
    typer.Option("--state", help="Only files in this state; may be given more than once."),
]


def status(batch: OptionalBatch = None, *, as_json: AsJson = False, watch: Watch = False) -> None:
    """Show a batch: files by state, rate, time left, oldest file in flight; or list all batches.

    With --json and --watch the object is printed when the batch is finished.

    [bold]Examples[/]

    chatflow-ingest status

    chatflow-ingest status BATCH --watch

    chatflow-ingest status BATCH --json | jq .counts.failed
    """
    from worker.bootstrap import open_store
    from worker.settings import Settings

    wanted = None if batch is None else batch_id(batch)
    with interruptible(), closing(open_store(Settings.load())) as store:
        if wanted is None:
            _list(store, as_json=as_json, watch=watch)
        else:
            found = _watched(store, wanted) if watch else store.status(wanted)
            _show_batch(found, store, as_json=as_json)


def _watched(store: "Store", batch: "BatchId") -> "BatchStatus":
    with progress() as report:
        while True:
            status = store.status(batch)
            report(status)
            if status.state is not BatchState.RUNNING:
                return status
            time.sleep(WATCH_EVERY)


def _show_batch(status: "BatchStatus", store: "Store", *, as_json: bool) -> None:
    if as_json:
        put_json(status_object(status))
    else:
        put_table(batch_table(status, store.now()))


def _list(store: "Store", *, as_json: bool, watch: bool) -> None:
    if watch:
        _watch_list(store)
    elif as_json:
        put_json({"batches": [status_object(status) for status in store.batches()]})
    else:
        put_table(batches_table(store.batches()))


def _watch_list(store: "Store") -> None:
    from rich.live import Live

    if not sys.stdout.isatty():
        raise UsageError("--watch: name a batch, or watch the list on a terminal")
    with Live(console=console_for(terminal=True)) as live:
        while True:
            live.update(batches_table(store.batches()))
            time.sleep(WATCH_EVERY)


def results(
    batch: BatchArgument,
    *,
    form: Annotated[Format, typer.Option("--format", help="The form.")] = Format.JSONL,
    output: Output = None,
    state: States = None,
) -> None:
    """Write the results of a batch, one line for each of its files in whatever state.

    Streams: memory does not grow with the batch. CSV cells are the service's own text, also
    where a spreadsheet would take them for a formula; parse_segments is JSON text there and in
    Parquet.

    [bold]Examples[/]

    chatflow-ingest results BATCH | jq -r 'select(.state == "failed") | .source'

    chatflow-ingest results BATCH --format parquet --output results.parquet

    chatflow-ingest results BATCH --state failed --state timed_out --format csv
    """
    from worker.bootstrap import open_store
    from worker.settings import Settings

    if output is None and form is Format.PARQUET and sys.stdout.isatty():
        raise UsageError("parquet is nothing for a terminal: give --output FILE, or a pipe")
    wanted = batch_id(batch)
    with interruptible(), closing(open_store(Settings.load())) as store:
        store.status(wanted)  # an unknown batch leaves no empty file behind
        with destination(output) as out:
            write_results(store.results(wanted, state or None), form, out)


def show(
    file: Annotated[str, typer.Argument(metavar="FILE_ID", help="The file's id.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Tell one file's whole story: states with times, uploads, polls, errors, contents.

    The ids are in the results of its batch, as file_id.
    """
    from worker.bootstrap import open_store
    from worker.settings import Settings

    wanted = file_id(file)
    with closing(open_store(Settings.load())) as store:
        story = store.story(wanted)
    if as_json:
        put_json(story_object(story))
    else:
        for part in story_parts(story):
            put(part) if isinstance(part, str) else put_table(part)
