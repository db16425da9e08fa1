"""Sweep: finish what has no open file left, probe what is paused, wake what is due.

Beat and every worker sweep: whoever is first does it, and nothing depends on any one of them.
"""

from __future__ import annotations

from collections.abc import Callable

from anyio import to_thread

from worker.core.model import BatchId, Crew, Due
from worker.errors import CredentialsRefused, IngestError, NoUploadNode
from worker.ports import Dialogs, Store, Telemetry, Waker
from worker.steps.service import PROBE_EVERY

QUIET = 2.0
"""Seconds between two wake-ups for the same crew and lane, over all workers."""

LOOK_AHEAD = 1.0
"""Seconds ahead that due work is looked for: a shift waits that long for it."""


def finish(store: Store, telemetry: Telemetry) -> list[BatchId]:
    """Stamp batches that have no open file left; returns which."""
    unfinished = store.unfinished()
    finished = store.finish(unfinished) if unfinished else []
    for batch in finished:
        telemetry.event("batch_finished", batch=str(batch))
    return finished


def wake_due(
    store: Store, waker: Waker, *, mine: Callable[[Crew], bool], busy: Callable[[Due], bool]
) -> None:
    """Wake up for everything that is due and not being worked on here.

    Args:
        mine: the crews that this process belongs to.
        busy: whether this process works on it already.
    """
    for due in store.due(LOOK_AHEAD):
        if mine(due.crew) and not busy(due) and store.take_wake(due.crew, due.lane, QUIET):
            waker.wake(due.profile, due.crew, due.lane)


async def probe(store: Store, dialogs: Dialogs, profile: str, telemetry: Telemetry) -> None:
    """Open one dialog for a paused profile, if its probe is due; going well ends the pause."""
    if not await to_thread.run_sync(store.take_probe, profile, PROBE_EVERY):
        return
    try:
        await dialogs.open()
    except CredentialsRefused as error:
        telemetry.event("credentials_refused", profile=profile, reason=error.message)
    except NoUploadNode:
        await _resume(store, profile, telemetry)  # the rest that is wrong, a file will say
    except IngestError as error:
        telemetry.event("dialog_failed", profile=profile, reason=error.message)
    else:
        await _resume(store, profile, telemetry)


async def _resume(store: Store, profile: str, telemetry: Telemetry) -> None:
    await to_thread.run_sync(store.resume, profile)
    telemetry.event("profile_resumed", profile=profile)
