"""``plan``: what would become of the files, without uploading any."""

import typer

from worker.cli.options import (
    AllowEmpty,
    AsJson,
    Category,
    Glob,
    Paths,
    ProfileName,
    Recursive,
    selection,
)


def plan(
    paths: Paths = None,
    *,
    recursive: Recursive = False,
    glob: Glob = None,
    category: Category = None,
    profile: ProfileName = "default",
    as_json: AsJson = False,
    allow_empty: AllowEmpty = False,
) -> None:
    """Say which file would go to which category, in how many dialogs, and what would be rejected.

    Opens one dialog to learn the categories; uploads and stores nothing. Exit code 1 when
    anything would be rejected.

    [bold]Example[/]

    chatflow-ingest plan /data/calls --recursive --glob "*.wav"
    """
    from worker.cli.planning import foretell

    chosen = selection(paths, glob, recursive=recursive)
    raise typer.Exit(foretell(chosen, category, profile, as_json=as_json, allow_empty=allow_empty))
