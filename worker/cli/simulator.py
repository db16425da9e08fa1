"""The stand-in for the service: served by itself, or for a demonstration."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.faults import NOT_ALL, OK
from worker.cli.interruption import interruptible
from worker.cli.options import Selection
from worker.cli.running import Order, Wait, attend, new_job
from worker.cli.terminal import put, put_table, say, shortened, table
from worker.core.lifecycle import FileState
from worker.core.model import FileResult

if TYPE_CHECKING:
    from worker.settings import Settings

EXPECTED: Mapping[str, FileState] = {
    "broken-recording.wav": FileState.FAILED,
    "floor-plan.xyz": FileState.REJECTED,
}
"""The samples that must not succeed; all the others must."""


def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    scenario: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TOML file: what it offers, how it behaves, which faults it shows.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve the bundled stand-in for the service until Ctrl-C; prints its address.

    Its credentials are demo-key, demo-token and demo unless the scenario says otherwise.

    [bold]Example[/]

    chatflow-ingest simulator --port 8765 --scenario busy.toml
    """
    from worker.simulator import serve

    serve(host, port, scenario, put)


def demo() -> None:
    """Ingest the bundled sample files from the bundled simulator, and show how it goes.

    Needs no configuration and leaves everything in a temporary folder. One of the samples must
    fail and one is of a format that the service does not take: that is part of the show.
    """
    from worker.simulator import DEMO_SCENARIO, running, write_samples

    folder = Path(mkdtemp(prefix="chatflow-ingest-demo-"))
    with interruptible() as interruption:
        samples = write_samples(folder / "samples")
        with running(DEMO_SCENARIO) as service:
            say(f"simulator at {service.url}, {len(samples)} files in {folder / 'samples'}")
            found = _ingest(_settings(folder, service.url), samples, Wait(interruption))
    put_table(_result_table(found))
    put(f"The database is {folder / 'demo.db'}; look around with:")
    put(f"  export INGEST_DATABASE_URL=sqlite:///{folder / 'demo.db'}")
    put(f"  chatflow-ingest results {found[0].batch_id}")
    raise typer.Exit(OK if as_expected(found) else NOT_ALL)


def _settings(folder: Path, url: str) -> "Settings":
    """The demonstration's own configuration, whatever the environment says."""
    from worker.settings import Settings

    own: dict[str, Any] = {
        "CHATFLOW_BASE_URL": url,
        "CHATFLOW_ROBOT_KEY": "demo-key",
        "CHATFLOW_ROBOT_TOKEN": "demo-token",
        "CHATFLOW_USERNAME": "demo",
        "CHATFLOW_SETTLE_AT": "parse",
        "CHATFLOW_FLOW_UUID": None,
        "CHATFLOW_CA_BUNDLE": None,
        "INGEST_DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
        "INGEST_BROKER_URL": "memory://",
        "INGEST_AUTO_MIGRATE": True,
        "INGEST_ROOTS": [str(folder)],
        "INGEST_PROFILES": None,
        "INGEST_SCHEDULES": None,
    }
    return Settings.load(**own)


def _ingest(settings: "Settings", samples: list[Path], wait: Wait) -> list[FileResult]:
    from worker.bootstrap import open_store

    order = Order(Selection(tuple(map(str, samples)), recursive=False, glob=None))
    batch = order.new_batch()
    with closing(open_store(settings)) as store:
        attend(new_job(order, batch, store, settings), store, settings, wait)
        return list(store.results(batch))


def as_expected(results: list[FileResult]) -> bool:
    """Whether every sample ended as it must."""
    return bool(results) and all(
        result.state is EXPECTED.get(result.name, FileState.SUCCEEDED) for result in results
    )


def _result_table(results: list[FileResult]) -> Any:
    return table("file", "state", "category", "what came out", "polls", rows=_rows(results))


def _rows(results: list[FileResult]) -> Iterator[tuple[object, ...]]:
    for result in results:
        yield (
            result.name,
            result.state,
            result.category,
            shortened(what_came_out(result), 60),
            result.polls,
        )


def what_came_out(result: FileResult) -> str:
    """The text of the segments, of plain contents, or the reason that there is none."""
    match result.parse_segments:
        case list() as segments if segments:
            said = (s.get("text") if isinstance(s, dict) else s for s in segments)
            return " / ".join(str(text) for text in said if text)
        case _:
            return result.parse_content or result.error_message or result.error_code or ""
