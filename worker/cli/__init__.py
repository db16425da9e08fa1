"""The command line ``chatflow-ingest``.

Results go to stdout, everything else to stderr. Exit codes: 0 well, 1 some file or check is not, 2
usage or configuration, 130 after SIGINT, 143 after SIGTERM. Whatever is heavy (database,
Celery, the service's clients, Arrow) is imported inside the command that needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from worker.cli import batches, database, doctor, notifications, planning, reports, simulator
from worker.cli.faults import Commands

PROGRAM = "chatflow-ingest"

app = typer.Typer(
    name=PROGRAM,
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    # A traceback with local variables could show credentials.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:  # noqa: FBT001 -- Typer's callback
    if wanted:
        typer.echo(f"{PROGRAM} {_installed_version()}")
        raise typer.Exit


def _installed_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PROGRAM)
    except PackageNotFoundError:
        return "from a source tree that is not installed"


@app.callback()
def chatflow_ingest(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Ingest batches of files into a chatflow service, durably.

    [bold]run[/] does everything in one process; [bold]submit[/] hands the work to
    workers (celery -A worker worker). Configuration comes from environment
    variables, a .env file or a secrets folder; [bold]doctor[/] says what is missing.
    """


PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Batches": (
        batches.run,
        batches.submit,
        reports.status,
        reports.results,
        reports.show,
        batches.retry,
        batches.cancel,
    ),
    "Looking around": (planning.plan, doctor.doctor, simulator.demo, simulator.simulator),
}

for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(database.app, rich_help_panel="Upkeep")
app.add_typer(notifications.app, rich_help_panel="Upkeep")


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A name that is no UTF-8, or a terminal that knows no Chinese, must not end a command.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name=PROGRAM)
