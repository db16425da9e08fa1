"""The stand-in for the service, served by itself."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.terminal import put


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
    *,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Insist on all that the service's documents ask for."),
    ] = False,
    replay: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Serve what [bold]doctor --record[/] kept, instead of a scenario.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve the bundled stand-in for the service until Ctrl-C; prints its address.

    Its credentials are demo-key, demo-token and demo unless the scenario says otherwise.

    [bold]Example[/]

    chatflow-ingest simulator --port 8765 --scenario busy.toml
    """
    if replay is not None:
        _replay(replay, host, port, alone=scenario is None and not strict)
        return
    from worker.simulator import serve

    serve(host, port, scenario, put, strict=strict)


def _replay(recording: Path, host: str, port: int, *, alone: bool) -> None:
    from worker.errors import UsageError
    from worker.simulator import Replay, serve_until_stopped

    if not alone:
        raise UsageError("--replay serves what was recorded; it takes no --scenario or --strict")
    serve_until_stopped(Replay(recording, host, port), put)
