"""The event loop's clock, futures and tasks, for where every call passes.

anyio has them all, but looks for its backend each time, and gives each task a scope of its own,
which costs more than the rest of a call's bookkeeping. All else in the steps is anyio's.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, get_running_loop, wait
from collections.abc import Coroutine, Iterable
from typing import Any

import anyio

__all__ = ["Future", "clock", "future", "side_by_side"]


def clock() -> float:
    """Seconds on the running loop's clock, by which its timers go too; only differences count."""
    return get_running_loop().time()


def future() -> Future[bool]:
    """A pending future of the running loop: whether the item was written."""
    return get_running_loop().create_future()


async def side_by_side(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of this, each in a task of its own, and wait until every one has ended.

    Cancelled, it cancels each of them once. The waiting is shielded then, for one of them may
    have a last word to write, and an anyio scope would go on cancelling whoever waits in it, at
    each turn of the loop: asyncio's own `TaskGroup` spins there.

    Raises:
        Exception: what one of them has raised, after all have ended.
    """
    loop = get_running_loop()
    tasks = [loop.create_task(work) for work in works]
    if not tasks:
        return
    try:
        await wait(tasks)
    except CancelledError:
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            await wait(tasks)
        raise
    for task in tasks:
        task.result()
