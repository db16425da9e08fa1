"""The demonstration: the bundled files, sent to the bundled stand-in for the service."""

from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import typer

from worker.cli.interruption import interruptible


def demo(
    *,
    chaos: Annotated[
        bool,
        typer.Option(
            "--chaos",
            help="Kill the demo's own run again and again, then balance the account: a minute.",
        ),
    ] = False,
) -> None:
    """Ingest the bundled sample files from the bundled simulator, and show how it goes.

    Needs no configuration and leaves everything in a temporary folder. One of the samples must
    fail and one is of a format that the service does not take: that is part of the show.
    """
    folder = Path(mkdtemp(prefix="ingest-demo-"))
    with interruptible() as interruption:
        if chaos:
            from worker.cli.chaos import chaos as killing

            raise typer.Exit(killing(folder))
        from worker.cli.showing import show

        raise typer.Exit(show(folder, interruption))
