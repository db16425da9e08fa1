"""Carry out the `after` rules of schedules: delete or move files whose results are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import anyio
from anyio import to_thread

from worker.core.model.files import ErrorNote
from worker.core.model.fleet import Leftover
from worker.errors import IngestError, TryLater
from worker.ports.sources import TakeAway
from worker.ports.store import Schedules
from worker.ports.telemetry import Telemetry
from worker.steps.leading import leading
from worker.steps.stopping import Stopping

BUDGET = 30.0
"""Seconds that one go may take: a file at a URL is read once more, and schedules wait for it."""

PAGE = 500


async def tidy(
    store: Schedules, taker: TakeAway, telemetry: Telemetry, holder: str, stopping: Stopping
) -> int:
    """Carry out the rules that wait, if nobody else is at it; returns how many are done with.

    A file whose rule can't be carried out stays where it is, and the reason is kept. What is not
    done when the time is over, or this process stops, is left to the next tick.
    """
    if not await to_thread.run_sync(store.leftovers, 1):
        return 0
    done, end, waiting = 0, anyio.current_time() + BUDGET, set[str]()
    async with leading(store, holder, telemetry) as leads:
        async for leftover in _leftovers(store):
            if not leads or stopping or anyio.current_time() >= end:
                break
            take = partial(_take, store, taker, telemetry, leftover, waiting)
            done += await to_thread.run_sync(take)
    return done


async def _leftovers(store: Schedules) -> AsyncIterator[Leftover]:
    """All of them: what has to wait holds nothing else up."""
    page = await to_thread.run_sync(store.leftovers, PAGE)
    while page:
        for leftover in page:
            yield leftover
        page = await to_thread.run_sync(store.leftovers, PAGE, page[-1].file)


def _take(
    store: Schedules,
    taker: TakeAway,
    telemetry: Telemetry,
    leftover: Leftover,
    waiting: set[str],
) -> bool:
    """Whether the rule is done with; one that has to wait is said once for each reason."""
    try:
        taker.take_away(leftover)
    except TryLater as error:
        if error.code not in waiting:
            waiting.add(error.code)
            _say(telemetry, leftover, error)
        return False
    except IngestError as error:
        store.taken_away(leftover.file, ErrorNote(error.code, error.message))
        _say(telemetry, leftover, error)
    else:
        store.taken_away(leftover.file)
        telemetry.event("taken_away", file=str(leftover.file), rule=leftover.rule)
    return True


def _say(telemetry: Telemetry, leftover: Leftover, error: IngestError) -> None:
    telemetry.event(
        "take_away_failed", file=str(leftover.file), code=error.code, message=error.message
    )
