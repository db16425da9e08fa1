"""The command line ``chatflow-ingest``.

Results go to stdout, everything else to stderr. Exit codes: 0 well, 1 some file or check is not, 2
usage or configuration, 130 after SIGINT, 143 after SIGTERM. Whatever is heavy (database,
Celery, the service's clients, Arrow) is imported inside the command that needs it.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from worker.cli import (
    audit,
    batches,
    database,
    demo,
    doctor,
    metrics,
    notifications,
    pages,
    plan,
    pruning,
    reports,
    schedules,
    setup,
    simulator,
)
from worker.cli.exit_codes import Commands
from worker.cli.terminal import set_voice

PROGRAM = "chatflow-ingest"
COLLECT_AFTER = (20_000, 50, 100)
"""How many objects, and passes over the younger ones, until the garbage collector looks around."""

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
    version: Annotated[  # noqa: ARG001 -- its callback does it all
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            show_default=False,
            help="Log what is done; -vv: every detail.",
        ),
    ] = 0,
) -> None:
    """Ingest batches of files into a chatflow service, durably.

    [bold]run[/] does everything in one process; [bold]submit[/] hands the work to
    workers (celery -A worker worker). Configuration comes from environment
    variables, a .env file or a secrets folder. Begin with [bold]demo[/], which needs none;
    then [bold]init[/] writes it down, and [bold]doctor[/] says what is missing.
    """
    set_voice(quiet=quiet, verbosity=verbose, as_json=setup.log_format() == "json")
    if not {"-h", "--help"} & set(sys.argv):
        setup.warn_of_unknown_names()


PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Beginning": (setup.init, setup.config),
    "Batches": (
        batches.run,
        batches.submit,
        reports.status,
        reports.results,
        reports.show,
        pages.report,
        batches.retry,
        batches.cancel,
        audit.audit,
    ),
    "Looking around": (plan.plan, doctor.doctor, demo.demo, simulator.simulator),
}

for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(database.app, rich_help_panel="Upkeep")
app.add_typer(notifications.app, rich_help_panel="Upkeep")
app.add_typer(schedules.app, rich_help_panel="Upkeep")
app.command(rich_help_panel="Upkeep")(metrics.metrics)
app.command(rich_help_panel="Upkeep")(pruning.prune)


def main() -> None:
    """Run the command line and leave with its exit code."""
    # A command imports much and streams much, all of it without cycles: looking for some after
    # every 700 objects is a fifth of what `status`, and two fifths of what `results` costs.
    gc.set_threshold(*COLLECT_AFTER)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looks at every distribution
    for stream in (sys.stdout, sys.stderr):
        # A name that is no UTF-8, or a terminal that knows no Chinese, must not end a command.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name=PROGRAM)
