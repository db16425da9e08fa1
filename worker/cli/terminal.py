"""What commands say: results on stdout, everything else on stderr, names made harmless."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WHOLE = frozenset({"batch", "state", "started", "at (UTC)"})
"""Columns that are kept on one line; the others give way."""

WIDE = 4_000  # columns for a table that is piped on: nothing is folded or cut


def shown(text: object) -> str:
    r"""The text on one line, control characters written as escapes.

    A file may be named so that printing its name moves the cursor, forges a line of a log or
    reverses what follows.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )


def shown_block(text: str) -> str:
    """As `shown`, line by line: for contents, whose line breaks are their own."""
    return "\n".join(shown(line) for line in text.splitlines())


class _Voice:
    """How this process speaks: how much, and through what while a live display is drawn."""

    quiet = False
    verbosity = 0
    json = False
    console: Console | None = None


def set_voice(*, quiet: bool, verbosity: int, as_json: bool = False) -> None:
    """Take what `--quiet`, `-v` and INGEST_LOG_FORMAT say."""
    _Voice.quiet, _Voice.verbosity, _Voice.json = quiet, verbosity, as_json


def quiet() -> bool:
    """Whether only results and errors are wanted."""
    return _Voice.quiet


def verbosity() -> int:
    """How many times `-v` was given."""
    return _Voice.verbosity


def speaks_json() -> bool:
    """Whether stderr is to hold one JSON object a line, whatever is said."""
    return _Voice.json


@contextmanager
def speaking_through(console: Console) -> Iterator[None]:
    """Let everything that is said meanwhile pass through this console: it draws on the screen."""
    _Voice.console = console
    try:
        yield
    finally:
        _Voice.console = None


def can_be_drawn_on(stream: TextIO) -> bool:
    """Whether the stream is a terminal whose cursor can be moved."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown", ""}


def say(line: str, event: str | None = None, **fields: object) -> None:
    """A line for the human, on stderr, unless they want quiet.

    Args:
        event: what stands for the line where JSON is wanted, with the fields.
    """
    if not _Voice.quiet:
        _speak(line, "info", event, fields)


def complain(line: str) -> None:
    """A line that is said also when quiet is wanted."""
    _speak(line, "error", None, {})


def as_said(line: str, level: str = "info", event: str | None = None, **fields: object) -> str:
    """The line as stderr wants it: itself, or as the logs' JSON."""
    if not _Voice.json:
        return line
    moment = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({**fields, "event": event or line, "level": level, "timestamp": moment})


def _speak(line: str, level: str, event: str | None, fields: Mapping[str, object]) -> None:
    line = as_said(line, level, event, **fields)
    if _Voice.console is not None:
        _Voice.console.print(line, soft_wrap=True)
    else:
        typer.echo(line, err=True)


def put(line: str) -> None:
    """A line of what was asked for, on stdout; a reader that has gone is no error."""
    try:
        typer.echo(line)
    except BrokenPipeError:
        drop_stdout()


def put_json(value: Mapping[str, Any]) -> None:
    """The one JSON object of `--json`."""
    from worker.adapters.exports import json_text

    put(json_text(value).decode())


def put_table(table: Table) -> None:
    """A table on stdout; where that is no terminal, its cells with a tab between them."""
    try:
        if sys.stdout.isatty():
            console_for(terminal=True).print(table)
        else:
            for line in _plain_lines(table):
                typer.echo(line)
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stdout()


def _plain_lines(table: Table) -> Iterator[str]:
    yield "\t".join(str(column.header) for column in table.columns)
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        yield "\t".join(str(cell) for cell in cells).rstrip("\t")


def columns() -> int:
    """How many columns a table on stdout may have."""
    return console_for(terminal=True).width if sys.stdout.isatty() else WIDE


def console_for(*, terminal: bool, stderr: bool = False) -> Console:
    """A console that takes text for text: no markup, no emoji, no highlighting."""
    from rich.console import Console

    return Console(
        stderr=stderr,
        markup=False,
        emoji=False,
        highlight=False,
        width=None if terminal else WIDE,
    )


def table(*columns: str, rows: Iterable[Iterable[object]], title: str | None = None) -> Table:
    """A plain table of harmless cells; None is shown as nothing.

    What does not fit is folded, never cut: an id or a reason is there to be copied.
    """
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    heads = (Column(name, overflow="fold", no_wrap=name in _WHOLE) for name in columns)
    result = Table(*heads, title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for row in rows:
        result.add_row(*(Text("" if cell is None else shown(cell)) for cell in row))
    return result


def shortened(text: str, length: int = 60) -> str:
    """As much of a text as so many columns hold, with an ellipsis where it was cut.

    A Chinese character takes two.
    """
    if len(text) * 2 <= length or (text.isascii() and len(text) <= length):
        return text
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= length else set_cell_size(text, length - 1).rstrip() + "…"


def drop_stdout() -> None:
    """The reader of our output has gone: let the rest go nowhere, also at interpreter exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
