"""A category's breaker: it opens when one file after another fails for the same reason.

While it is open the category's queued files wait, and one of them, the canary, goes ahead now and
then. A file that goes well closes it, and so does a `retry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID, uuid5

from worker.core.model.ids import FileId, LeaseToken
from worker.core.words import counted

CANARY_EVERY = 60.0
"""Seconds between two canaries of a category."""

LOOK_AGAIN = 600.0
"""Seconds after which a held file looks by itself; usually it is woken."""

_NAMESPACE = UUID("5a6d5c0e-8a53-5f0a-9d0c-1d6c0f0b7e11")

Turn = Literal["opened", "closed"]


def breaker_id(profile: str, category: str) -> UUID:
    """What the files that wait for this category's breaker wait for."""
    return uuid5(_NAMESPACE, f"{profile}/{category}")


@dataclass(frozen=True, slots=True)
class Breaker:
    """How the files of one category have failed lately.

    Attributes:
        code: why the last one failed.
        failures: how many in a row, of this code or, while it is open, of any.
        is_open: whether files are held.
        canary: the file that was let through last.
        canary_in: seconds until the next one may go ahead.
    """

    code: str
    failures: int = 1
    is_open: bool = False
    canary: FileId | None = None
    canary_in: float = 0.0


def heard(
    known: Breaker | None, code: str | None, limit: int
) -> tuple[Breaker | None, Turn | None]:
    """What becomes of a breaker, and whether that is news, when a file has ended.

    Args:
        known: the breaker so far, None when the last file went well.
        code: why the file failed, None when it went well.
        limit: failures in a row that open it.
    """
    if code is None:
        return None, "closed" if known is not None and known.is_open else None
    if known is None or (known.code != code and not known.is_open):
        new = Breaker(code)
    else:
        new = replace(known, code=code, failures=known.failures + 1)
    if new.is_open or new.failures < limit:
        return new, None
    return replace(new, is_open=True, canary_in=CANARY_EVERY), "opened"


@dataclass(frozen=True, slots=True)
class Applicant:
    """A file in hand that wants to be uploaded to a category."""

    file: FileId
    token: LeaseToken
    category: str


def admitted(breaker: Breaker, applicants: Sequence[Applicant]) -> tuple[set[FileId], Breaker]:
    """Which of a category's files may go ahead, and the breaker with its canary.

    The canary is known again however often it asks; another one goes when its time has come.
    """
    if not breaker.is_open:
        return {each.file for each in applicants}, breaker
    passing = {each.file for each in applicants if each.file == breaker.canary}
    if passing or breaker.canary_in > 0 or not applicants:
        return passing, breaker
    chosen = applicants[0].file
    return {chosen}, replace(breaker, canary=chosen, canary_in=CANARY_EVERY)


def reason(category: str, breaker: Breaker) -> str:
    """Why a file waits, in words."""
    files = counted(breaker.failures, "file")
    return (
        f'{files} of category "{category}" in a row ended as {breaker.code}:'
        " one at a time goes ahead until one goes well, or until a retry"
    )
