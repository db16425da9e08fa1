"""Sweep: finish what has no open file left, probe what is paused, wake what is due.

Beat and every worker sweep: whoever is first does it, and nothing depends on any one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anyio import to_thread

from worker.core.gate import PROBE_EVERY
from worker.core.model.batches import BatchStatus
from worker.core.model.fleet import Due
from worker.core.model.ids import BatchId, Crew, FileId
from worker.errors import IngestError, NoUploadNode, ProfileStopped, Redirected
from worker.ports.broker import Waker
from worker.ports.service import Dialogs
from worker.ports.store import Store
from worker.ports.telemetry import EventName, Telemetry

LOOK_AHEAD = 1.0
"""Seconds ahead that due work is looked for: a shift waits that long for it."""


@dataclass(frozen=True, slots=True)
class Chores:
    """What there is to do: batches to stamp, files to make due, notifications, due work."""

    unfinished: list[BatchId]
    released: list[FileId]
    notifications: bool
    due: list[Due]


@dataclass(frozen=True, slots=True)
class Sweep:
    """One process's sweeps.

    Attributes:
        quiet: seconds between two wake-ups for the same crew and lane, over all workers.
        notifies: whether somebody is to be woken for notifications.
        mine: the crews that this process belongs to.
        busy: whether this process works on it already.
    """

    store: Store
    waker: Waker
    telemetry: Telemetry
    quiet: float
    notifies: bool
    mine: Callable[[Crew], bool]
    busy: Callable[[Due], bool]

    def once(self) -> list[BatchId]:
        """Do what there is to do, once; returns the batches that it found finished."""
        chores = self._look_around()
        finished = self._finish(chores.unfinished)
        released = self.store.wake_released(chores.released) if chores.released else 0
        if finished or released:
            chores = self._look_around()
        if self.notifies and chores.notifications:
            self.waker.wake_notify()
        for due in chores.due:
            if self.mine(due.crew) and not self.busy(due):
                self._wake(due)
        return finished

    def _look_around(self) -> Chores:
        """What there is to do, in one transaction: nearly always it is nothing."""
        store = self.store
        return store.together(
            lambda: Chores(
                store.unfinished(),
                store.released(),
                store.notifications_due(),
                store.due(LOOK_AHEAD),
            )
        )

    def _finish(self, unfinished: list[BatchId]) -> list[BatchId]:
        finished = self.store.finish(unfinished) if unfinished else []
        for batch in finished:
            _tell_end(self.store.status(batch), self.telemetry)
        return finished

    def _wake(self, due: Due) -> None:
        if self.store.take_wake(due.crew, due.lane, self.quiet):
            self.waker.wake(due.profile, due.crew, due.lane)


def _tell_end(status: BatchStatus, telemetry: Telemetry) -> None:
    ended = status.finished_at or status.started_at
    telemetry.whole(
        status.batch_id,
        status.started_at.timestamp(),
        profile=status.profile,
        state=status.state.value,
        files=status.total,
    )
    telemetry.event(
        "batch_finished",
        batch=str(status.batch_id),
        profile=status.profile,
        files=status.total,
        **{state.value: count for state, count in status.counts.items()},
        seconds=round((ended - status.started_at).total_seconds(), 1),
    )


async def probe(store: Store, dialogs: Dialogs, profile: str, telemetry: Telemetry) -> None:
    """Open one dialog for a paused profile, if its probe is due; going well ends the pause."""
    if not await to_thread.run_sync(store.take_probe, profile, PROBE_EVERY):
        return
    try:
        await dialogs.open()
    except ProfileStopped as error:
        name: EventName = "redirected" if isinstance(error, Redirected) else "credentials_refused"
        telemetry.event(name, profile=profile, reason=error.message)
    except NoUploadNode:
        await _resume(store, profile, telemetry)  # a missing node is told by a file
    except IngestError as error:
        telemetry.event("dialog_failed", profile=profile, reason=error.message)
    else:
        await _resume(store, profile, telemetry)


async def _resume(store: Store, profile: str, telemetry: Telemetry) -> None:
    await to_thread.run_sync(store.resume, profile)
    telemetry.event("profile_resumed", profile=profile)
