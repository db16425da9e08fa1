"""``doctor``: is everything there that a batch needs; each line ok, or what to do."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.options import AsJson, ProfileName


def doctor(
    *,
    as_json: AsJson = False,
    canary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also send this file all the way to its result.", exists=False
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep one dialog, one upload and its polls in FILE, masked, and say what differs"
            " from the description. Sends a small bundled sample unless --canary names a file.",
        ),
    ] = None,
    profile: ProfileName = "default",
) -> None:
    """Look at configuration, database, broker, workers, service and roots. Exit 1 if any is amiss.

    Opens one dialog with each profile's service. Uploads nothing unless --canary or --record is
    given: these send one file to the service of --profile. Changes nothing in the database.

    [bold]Example[/]

    chatflow-ingest doctor --record first-contact.jsonl
    """
    from worker.cli.diagnosis import Wish, diagnose

    raise typer.Exit(diagnose(Wish(profile, canary, record), as_json=as_json))
