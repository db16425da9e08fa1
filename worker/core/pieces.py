"""Many items, some at a time. `itertools.batched` does this from Python 3.12 on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def pieces(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of up to so many items, as they come."""
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece
