"""The event loop's clock and futures, for where every call passes.

anyio has both, but looks for its backend each time, which costs more than the rest of a call's
bookkeeping. All else in the steps is anyio's.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop

__all__ = ["Future", "clock", "future"]


def clock() -> float:
    """The loop's monotonic clock, in seconds."""
    return get_running_loop().time()


def future() -> Future[bool]:
    """A future that tells yes or no."""
    return get_running_loop().create_future()
