"""The event loop's clock, futures and task groups, for where every call passes.

anyio has them all, but looks for its backend each time, and gives each task a scope of its own,
which costs more than the rest of a call's bookkeeping. All else in the steps is anyio's.
"""

from __future__ import annotations

from asyncio import Future, TaskGroup, get_running_loop
from time import monotonic as clock

__all__ = ["Future", "TaskGroup", "clock", "future"]


def future() -> Future[bool]:
    """A future that tells yes or no."""
    return get_running_loop().create_future()
