"""What commands say: results on stdout, everything else on stderr, names made harmless."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

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


def say(line: str) -> None:
    """A line for the human, on stderr."""
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
    """A table on stdout, as wide as it likes unless that is a terminal."""
    console = console_for(terminal=sys.stdout.isatty())
    try:
        console.print(table)
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stdout()


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
    """A plain table of harmless cells; None is shown as nothing."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    result = Table(*columns, title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for row in rows:
        result.add_row(*(Text("" if cell is None else shown(cell)) for cell in row))
    return result


def shortened(text: str, length: int = 60) -> str:
    """The beginning of a text, with an ellipsis where it was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"


def drop_stdout() -> None:
    """The reader of our output has gone: let the rest go nowhere, also at interpreter exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
