"""What is done again and again for as long as a process, or a shift, lives.

A background task that ends without a word is worse than a crash: everything looks alive, and
nothing moves. Here nothing that goes wrong ends the repetition, and all of it is said.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from worker.errors import IngestError, StoreUnavailable
from worker.ports.telemetry import Telemetry
from worker.steps.stopping import Stopping


async def keep_doing(
    what: str,
    work: Callable[[], Awaitable[object]],
    *,
    every: float,
    telemetry: Telemetry,
    stop: Stopping | None = None,
) -> None:
    """Work, then pause, until cancelled or told to stop; an error is reported and survived.

    Args:
        what: the word for it in the log.
        every: seconds between the end of one go and the next.
    """
    while not stop:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next go may go well
            report(what, error, telemetry)
        await (stop.sleep(every) if stop is not None else anyio.sleep(every))


def report(what: str, error: Exception, telemetry: Telemetry) -> None:
    """Say what went wrong in the background: in words that are ours, or with its traceback."""
    if isinstance(error, StoreUnavailable):
        telemetry.event("store_unavailable", step=what, reason=error.message)
    elif isinstance(error, IngestError):
        telemetry.event("step_failed", step=what, reason=error.message)
    else:
        reason = f"unexpected {type(error).__name__}"
        telemetry.event("step_failed", step=what, reason=reason, exc_info=error)
