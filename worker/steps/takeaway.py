"""Carry out the `after` rules of schedules: delete or move files whose results are stored."""

from __future__ import annotations

from typing import Protocol

from anyio import to_thread

from worker.core.model import ErrorNote, FileId, Leftover
from worker.errors import IngestError, TryLater
from worker.ports import Telemetry


class Leftovers(Protocol):
    """The part of the store that knows whose rule waits; see `worker.ports.Schedules`."""

    def leftovers(self, limit: int) -> list[Leftover]:
        """Succeeded files whose rule was not carried out yet."""
        ...

    def taken_away(self, file: FileId, error: ErrorNote | None = None) -> None:
        """The rule is done with."""
        ...


class TakeAway(Protocol):
    """Deletes and moves files; blocking."""

    def take_away(self, leftover: Leftover) -> None:
        """Carry out one rule, on the very file that was uploaded; safe to repeat.

        Raises:
            SourceRejected: it can't be done.
            TryLater: it may go well another time.
        """
        ...


async def tidy(store: Leftovers, taker: TakeAway, telemetry: Telemetry, *, limit: int = 500) -> int:
    """Carry out the rules that wait; returns how many are done with.

    A file whose rule can't be carried out stays where it is, and the reason is kept.
    """
    return await to_thread.run_sync(_tidy, store, taker, telemetry, limit)


def _tidy(store: Leftovers, taker: TakeAway, telemetry: Telemetry, limit: int) -> int:
    done = 0
    for leftover in store.leftovers(limit):
        try:
            taker.take_away(leftover)
        except TryLater as error:
            _say(telemetry, leftover, error)
        except IngestError as error:
            store.taken_away(leftover.file, ErrorNote(error.code, error.message))
            _say(telemetry, leftover, error)
            done += 1
        else:
            store.taken_away(leftover.file)
            telemetry.event("taken_away", file=str(leftover.file), rule=leftover.rule)
            done += 1
    return done


def _say(telemetry: Telemetry, leftover: Leftover, error: IngestError) -> None:
    telemetry.event(
        "take_away_failed", file=str(leftover.file), code=error.code, message=error.message
    )
