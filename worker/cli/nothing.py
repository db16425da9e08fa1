"""Nothing found to ingest: said before anything is made, with a way to find more."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from worker.cli.terminal import shown
from worker.errors import NothingFound

if TYPE_CHECKING:
    from worker.cli.options import Selection

STDIN = "-"


def some(sources: Iterable[str], selection: Selection) -> Iterator[str]:
    """The sources, of which there is at least one.

    Raises:
        NothingFound: there is none; raised at once, not when the first is asked for.
    """
    remaining = iter(sources)
    first = next(remaining, None)
    if first is None:
        raise NothingFound("\n".join(_explained(selection)))
    return chain((first,), remaining)


def _explained(selection: Selection) -> Iterator[str]:
    where = ", ".join(
        shown(path) if path != STDIN else "the list on stdin" for path in selection.paths
    )
    like = f" is named like {shown(selection.glob)!r}" if selection.glob else ""
    yield f"nothing to ingest: no file in {where}{like}"
    if not selection.recursive and any(map(_has_folders, selection.paths)):
        yield "folders below were not entered: add --recursive"
    if selection.glob:
        yield "the pattern of --glob is held against a file's name, without folders"
    yield "for jobs that may find nothing there is --allow-empty"


def _has_folders(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return any(entry.is_dir() for entry in entries)
    except OSError:
        return False
