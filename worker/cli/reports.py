"""The commands that only look: status, results, show."""

import sys
from contextlib import closing
from typing import Annotated

import typer

from worker.cli.interruption import interruptible
from worker.cli.naming import complete_batch, find_batch, find_file
from worker.cli.options import AsJson, BatchArgument, Codes, OptionalBatch
from worker.cli.output import destination
from worker.cli.terminal import columns, put, put_json, put_table
from worker.core.forms import Format
from worker.core.lifecycle import FileState
from worker.errors import NoDatabase, UsageError

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Look again until it is finished.")]
Limit = Annotated[
    int, typer.Option(min=0, help="How many batches are listed, the newest first; 0 lists all.")
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|URL",
        help="Write to this file or URL, which appears once it is whole, instead of stdout.",
        show_default=False,
    ),
]
States = Annotated[
    list[FileState] | None,
    typer.Option("--state", help="Only files in this state; may be given more than once."),
]


def status(
    batch: OptionalBatch = None,
    *,
    as_json: AsJson = False,
    watch: Watch = False,
    limit: Limit = 100,
) -> None:
    """Show a batch: files by state, who attends to it, what holds it, time left; or list batches.

    With --json and --watch the object is printed when the batch is finished.

    [bold]Examples[/]

    chatflow-ingest status

    chatflow-ingest status BATCH --watch

    chatflow-ingest status BATCH --json | jq .counts.failed
    """
    from worker.bootstrap import open_existing
    from worker.cli.looking import put_batch, put_list, watch_list
    from worker.settings import Settings

    try:
        opened = open_existing(Settings.load())
    except NoDatabase:
        if batch is not None:
            raise
        put_list([], limit, as_json=as_json)
        return
    with interruptible(), closing(opened) as store:
        if batch is not None:
            put_batch(store, find_batch(store, batch), as_json=as_json, watch=watch)
        elif watch:
            watch_list(store, limit)
        else:
            put_list(store.batches(limit + 1 if limit else None), limit, as_json=as_json)


Form = Annotated[
    Format | None,
    typer.Option("--format", help="The form; on a terminal a table, elsewhere jsonl."),
]


def results(
    batch: BatchArgument,
    *,
    form: Form = None,
    output: Output = None,
    state: States = None,
    code: Codes = None,
) -> None:
    """Write the results of a batch, one line for each of its files in whatever state.

    Streams: memory does not grow with the batch. CSV cells are the service's own text, also
    where a spreadsheet would take them for a formula; parse_segments is JSON text there and in
    Parquet.

    [bold]Examples[/]

    chatflow-ingest results BATCH | jq -r 'select(.state == "failed") | .source'

    chatflow-ingest results BATCH --format parquet --output s3://results/night.parquet

    chatflow-ingest results BATCH --state failed --state timed_out --format csv
    """
    from worker.adapters.exports import write_results
    from worker.bootstrap import open_existing
    from worker.cli.views import results_lines
    from worker.settings import Settings

    if output is None and form is Format.PARQUET and sys.stdout.isatty():
        raise UsageError("parquet is nothing for a terminal: give --output FILE, or a pipe")
    settings = Settings.load()
    with interruptible(), closing(open_existing(settings)) as store:
        wanted = find_batch(store, batch)  # before there is a file to leave behind
        found = store.results(wanted, state or None, code or None)
        if form is None and output is None and sys.stdout.isatty():
            for line in results_lines(found, columns()):
                put(line)
            return
        with destination(output, settings) as out:
            write_results(found, form or Format.JSONL, out)


FileOrBatch = Annotated[
    str,
    typer.Argument(
        metavar="FILE_ID",
        help="The file's id or its first characters; or its batch, before NAME.",
        autocompletion=complete_batch,
    ),
]
FileName = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="The file's name in the batch.", show_default=False),
]
Transcript = Annotated[
    bool, typer.Option("--transcript", help="Only what it says, by speaker or page.")
]


def show(
    file: FileOrBatch,
    name: FileName = None,
    *,
    as_json: AsJson = False,
    transcript: Transcript = False,
) -> None:
    """Tell one file's whole story: states with times, uploads, polls, errors, contents.

    The ids are in the results of its batch, as file_id.

    [bold]Examples[/]

    chatflow-ingest show 2f6c1b

    chatflow-ingest show latest call.wav
    """
    from worker.bootstrap import open_existing
    from worker.cli.stories import story_object, story_parts, transcript_lines
    from worker.settings import Settings

    with closing(open_existing(Settings.load())) as store:
        story, now = store.story(find_file(store, file, name)), store.now()
    if as_json:
        put_json(story_object(story))
    elif transcript:
        for line in transcript_lines(story.result):
            put(line)
    else:
        for part in story_parts(story, now):
            put(part) if isinstance(part, str) else put_table(part)
