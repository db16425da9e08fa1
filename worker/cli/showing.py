"""The plain demonstration: a few files all the way, and what came out of them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.cli.exit_codes import NOT_ALL, OK
from worker.cli.interruption import Interruption
from worker.cli.options import Selection
from worker.cli.orders import Order
from worker.cli.program import command
from worker.cli.running import Wait, attend, new_job
from worker.cli.stage import as_expected, own_settings
from worker.cli.terminal import columns, put, put_table, say, shortened, table
from worker.core.model.stories import FileResult
from worker.core.words import counted

if TYPE_CHECKING:
    from worker.settings import Settings


def show(folder: Path, interruption: Interruption) -> int:
    """Ingest the samples and show what came out; the exit code says whether all is as it must be.

    Args:
        folder: where everything is left.
        interruption: of the whole command.
    """
    from worker.settings import Settings
    from worker.simulator import DEMO_SCENARIO, running, write_samples

    samples = write_samples(folder / "samples")
    with running(DEMO_SCENARIO) as service:
        say(f"simulator at {service.url}")
        say(f"{counted(len(samples), 'file')} in {folder / 'samples'}")
        settings = Settings.load(**own_settings(folder, service.url))
        found = _ingest(settings, samples, Wait(interruption))
    put_table(result_table(found, columns()))
    put(f"The database is {folder / 'demo.db'}; look around with:")
    put(f"  export INGEST_DATABASE_URL=sqlite:///{folder / 'demo.db'}")
    for words in (("status", "latest"), ("results", "latest"), ("show", "latest", found[0].name)):
        put(f"  {command(*words)}")
    return OK if as_expected(found) else NOT_ALL


def _ingest(settings: "Settings", samples: list[Path], wait: Wait) -> list[FileResult]:
    from worker.bootstrap import open_store

    order = Order(Selection(tuple(map(str, samples)), recursive=False, glob=None))
    batch = order.new_batch()
    with closing(open_store(settings)) as store:
        attend(new_job(order, batch, store, settings), store, settings, wait)
        return list(store.results(batch))


def result_table(results: list[FileResult], width: int) -> Any:
    """A line for each file; on a narrow terminal what came out is worth more than the rest."""
    if width >= ROOMY:
        return table("file", "state", "category", "what came out", "polls", rows=_rows(results))
    names = max(len(result.name) for result in results)
    rows = ((r.name, r.state, shortened(what_came_out(r), width - names - 20)) for r in results)
    return table("file", "state", "what came out", rows=rows)


ROOMY = 110
"""Columns of a terminal from which on a line of the table has room for everything."""


def _rows(results: list[FileResult]) -> Iterator[tuple[object, ...]]:
    for result in results:
        said = shortened(what_came_out(result), 50)
        yield result.name, result.state, result.category, said, result.polls


def what_came_out(result: FileResult) -> str:
    """The text of the segments, of plain contents, or the reason that there is none."""
    match result.parse_segments:
        case list() as segments if segments:
            said = (s.get("text") if isinstance(s, dict) else s for s in segments)
            return " / ".join(str(text) for text in said if text)
        case _:
            return result.parse_content or result.error_message or result.error_code or ""
