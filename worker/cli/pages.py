"""``report``: a batch as one page to look at."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.interruption import interruptible
from worker.cli.naming import find_batch
from worker.cli.options import AsJson, BatchArgument
from worker.cli.output import destination
from worker.cli.terminal import put_json, say, shown
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.adapters.pages.report import Subject
    from worker.core.model.ids import BatchId
    from worker.ports.store import Store

STDOUT = "-"
CONTENTS = 200
"""Files whose contents are on the page unless it is told otherwise."""


PageFile = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|URL",
        help="Where the page goes; - is stdout. [default: report-BATCH.html]",
        show_default=False,
    ),
]
ContentsOf = Annotated[
    int, typer.Option(min=0, help="Of how many files, the first ones, the contents are shown.")
]
NoContents = Annotated[bool, typer.Option("--no-contents", help="Show no contents at all.")]


def report(
    batch: BatchArgument,
    *,
    output: PageFile = None,
    contents: ContentsOf = CONTENTS,
    no_contents: NoContents = False,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page about a batch: totals, times, failures, every file.

    The page needs no network and no script; it fits a phone, a desktop, paper, light and dark.
    Memory does not grow with the batch.

    [bold]Example[/]

    chatflow-ingest report latest --output night.html
    """
    from worker.adapters.pages.report import write_page
    from worker.bootstrap import open_existing
    from worker.settings import Settings

    if as_json and output == STDOUT:
        raise UsageError("--json and --output -: stdout takes the page or the object, not both")
    settings = Settings.load()
    with interruptible(), closing(open_existing(settings)) as store:
        wanted = find_batch(store, batch)
        path = output or f"report-{wanted}.html"
        subject = _gathered(store, wanted, 0 if no_contents else contents)
        with destination(None if path == STDOUT else path, settings) as out:
            write_page(subject, store.lines(wanted), store.results(wanted), out)
    if as_json:
        whole = path if "://" in path else str(Path(path).absolute())
        put_json({"batch_id": str(wanted), "path": whole})
    elif path != STDOUT:
        say(f"wrote {shown(path)}")


def _gathered(store: Store, batch: BatchId, contents: int) -> Subject:
    from worker.adapters.pages.report import Subject
    from worker.core.figures import Figures

    status, now = store.status(batch), store.now()
    until = status.finished_at.timestamp() if status.finished_at else now
    figures = Figures(status.started_at.timestamp(), until)
    for line in store.lines(batch):
        figures.add(line)
    made_at = datetime.fromtimestamp(now, UTC)
    return Subject(status, store.details(batch), store.reasons(batch), figures, made_at, contents)
