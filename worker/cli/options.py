"""The arguments and options that several commands share, and how their text is read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from worker.core.model import BatchId, FileId
from worker.errors import UnknownBatch, UnknownFile, UsageError

STDIN = "-"

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH...",
        help="Files, folders or URLs; [bold]-[/] reads a list from stdin, one a line.",
        show_default=False,
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Take folders with all that is below them.")
]
Glob = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help='Of a folder, only files named like this: "*.wav".'),
]
Category = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Upload everything to this category; otherwise the first that takes the format.",
    ),
]
ProfileName = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="Which of the configured profiles to use.")
]
ExternalKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Your own name for the batch: the same key again adds only what is new.",
    ),
]
Inputs = Annotated[
    str | None,
    typer.Option(metavar="JSON", help="Further flow variables, as a JSON object."),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="Stop waiting after so many seconds: exit 1, to be resumed.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else.")]
BatchArgument = Annotated[str, typer.Argument(metavar="BATCH", help="The batch's id.")]
OptionalBatch = Annotated[
    str | None, typer.Argument(metavar="[BATCH]", help="The batch's id.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files the user means."""

    paths: tuple[str, ...]
    recursive: bool
    glob: str | None

    def sources(
        self, database: str | None = None, roots: Sequence[str] | None = None
    ) -> Iterator[str]:
        """Every file, folders listed as they are walked, and no URL asked outside of `roots`.

        What begins with the path `database` is the project's own, and in a folder by chance: it
        counts only when it was named itself.
        """
        from worker.adapters.sources import listing

        for path in self._named():
            found = listing([path], self.recursive, self.glob, roots)
            if database is not None and os.path.isdir(path):  # noqa: PTH112 -- never raises
                found = (source for source in found if not source.startswith(database))
            yield from found

    def _named(self) -> Iterator[str]:
        for path in self.paths:
            if path == STDIN:
                yield from _lines_of_stdin()
            else:
                yield path


def selection(paths: Iterable[str] | None, glob: str | None, *, recursive: bool) -> Selection:
    """What the arguments select.

    Raises:
        UsageError: no path was given.
    """
    given = tuple(paths or ())
    if not given:
        raise UsageError('name at least one file or folder, or "-" for a list on stdin')
    if any(not path for path in given):
        raise UsageError("a path is empty")
    return Selection(given, recursive=recursive, glob=glob)


def database_file(url: str) -> str | None:
    """The path of a SQLite database, whose companions' paths begin with it; else None."""
    if not url.startswith("sqlite"):
        return None
    from worker.adapters.database.engine import parse

    return str(Path(parse(url).database or "").absolute())


def _lines_of_stdin() -> Iterator[str]:
    # Names are bytes to the system: what is no UTF-8 must survive as in arguments.
    for line in sys.stdin.buffer:
        name = os.fsdecode(line.rstrip(b"\r\n"))
        if name:
            yield name


def inputs_object(text: str | None) -> str | None:
    """The value of `--inputs`, compacted.

    Raises:
        UsageError: it is no JSON object.
    """
    if text is None:
        return None
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise UsageError(f"--inputs: no valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise UsageError('--inputs: write a JSON object, such as {"language": "en"}')
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def batch_id(text: str) -> BatchId:
    """The id that a user wrote.

    Raises:
        UnknownBatch: it can't be one.
    """
    try:
        return BatchId(UUID(text))
    except ValueError:
        raise UnknownBatch(
            f"{text!r} is no batch id; `chatflow-ingest status` lists them"
        ) from None


def file_id(text: str) -> FileId:
    """The id that a user wrote.

    Raises:
        UnknownFile: it can't be one.
    """
    try:
        return FileId(UUID(text))
    except ValueError:
        raise UnknownFile(
            f"{text!r} is no file id; `chatflow-ingest results BATCH` has them as file_id"
        ) from None
