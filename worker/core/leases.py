"""What a lease that ran out says about its file: deaths, caution, and poison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from worker.codes import ErrorCode
from worker.core.model.files import ErrorNote

ALONE_AFTER = 2
"""Deaths after which a file is claimed alone, so that it takes no innocent file with it."""

POISON_AFTER = 4
"""Deaths after which a file is not tried again."""

POISON = ErrorNote(
    ErrorCode.POISON, f"its worker died {POISON_AFTER} times while it held this file"
)

T = TypeVar("T")


def deaths(counted: int, *, leased: bool) -> int:
    """How often in a row a worker died or froze while it held a file that is due.

    Args:
        counted: those that were counted so far.
        leased: whether a lease is still on it: it ran out, for it would have been given back.
    """
    return counted + leased


def is_poison(number: int) -> bool:
    """Whether a file with so many deaths ends."""
    return number >= POISON_AFTER


def safe_together(files: Sequence[T], number: Callable[[T], int]) -> Sequence[T]:
    """Those of the files that may be in one hand, by their numbers of deaths.

    A suspect that stands first goes alone; any other waits until it stands first.
    """
    if files and number(files[0]) >= ALONE_AFTER:
        return files[:1]
    return [file for file in files if number(file) < ALONE_AFTER]
