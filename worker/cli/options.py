"""The arguments and options that several commands share, and how their text is read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.naming import complete_batch
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.settings import Settings

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
Codes = Annotated[
    list[str] | None,
    typer.Option(
        "--code", metavar="CODE", help="Only files with this error code; may be repeated."
    ),
]
AllowEmpty = Annotated[
    bool,
    typer.Option("--allow-empty", help="Finding no file is no failure: exit 0, and no batch."),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Upload even what INGEST_REUSE_RESULTS has a result for."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else.")]
_NAMED = "Its id, the first characters of it, its external key, or latest."
BatchArgument = Annotated[
    str, typer.Argument(metavar="BATCH", help=_NAMED, autocompletion=complete_batch)
]
OptionalBatch = Annotated[
    str | None,
    typer.Argument(
        metavar="[BATCH]", help=_NAMED, show_default=False, autocompletion=complete_batch
    ),
]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files the user means."""

    paths: tuple[str, ...]
    recursive: bool
    glob: str | None

    def sources(self, settings: Settings) -> Iterator[str]:
        """Every file, folders listed as they are walked, and no URL asked outside of the roots.

        What begins with the database's path is the project's own, and in a folder by chance: it
        counts only when it was named itself.

        Raises:
            ConfigurationError: the driver of a root is not installed.
            SourceAway: a URL's place stayed out of reach.
        """
        from worker.adapters.files.drivers import require_drivers
        from worker.adapters.files.walk import listing

        require_drivers(settings.roots)
        database = database_file(settings.database_url)
        roots, options = settings.roots, settings.source_options
        for path in self._named():
            found = listing([path], self.recursive, self.glob, roots, options)
            if not os.path.isdir(path):  # noqa: PTH112 -- never raises
                yield from found
                continue
            if database is not None:
                found = (source for source in found if not source.startswith(database))
            yield from ahead(found)

    def _named(self) -> Iterator[str]:
        for path in self.paths:
            if path == STDIN:
                yield from _lines_of_stdin()
            else:
                yield path


_AHEAD = 1000


def ahead(sources: Iterator[str]) -> Iterator[str]:
    """The same sources, the next thousand listed while the caller writes the last to a database."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "listing") as reader:
        pieces = (reader.submit(list, islice(sources, _AHEAD)) for _ in repeat(None))
        coming = next(pieces)
        while piece := coming.result():
            coming = next(pieces)
            yield from piece


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
    from worker.adapters.database.engine.engines import parse

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
    except RecursionError:
        raise UsageError("--inputs: nested too deeply") from None
    if not isinstance(value, dict):
        raise UsageError('--inputs: write a JSON object, such as {"language": "en"}')
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """A span of time: a number of days, or a number with s, m, h or d.

    Raises:
        UsageError: it is none, or below 0.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "d")
    try:
        found = float(number) * _UNITS[unit]
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise UsageError(f"{text!r} is no span of time: write days, or 90s, 15m, 2h, 7d")
    return found


def notify_target(text: str | None) -> dict[str, str] | None:
    """The value of `--notify`: an address, or a task with or without a queue.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return None
    if "://" in text:
        if not text.startswith(("https://", "http://")):
            raise UsageError(f"--notify: {text!r} is no http(s) address")
        return {"url": text}
    task, _, queue = text.partition("@")
    if not task or any(c.isspace() for c in text) or text.endswith("@"):
        raise UsageError("--notify: write an https address, TASK or TASK@QUEUE")
    return {"task": task, "queue": queue} if queue else {"task": task}
