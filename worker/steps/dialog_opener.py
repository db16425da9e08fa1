"""Open a dialog for a load, as often as it makes sense, and say when it no longer does."""

from __future__ import annotations

from collections.abc import Sequence

from worker.codes import ErrorCode
from worker.core.model.ids import Crew, FileId, is_run
from worker.core.model.wire import DialogSession
from worker.core.pacing import DIALOG_ATTEMPTS, dialog_backoff
from worker.errors import ProfileStopped, ServiceBusy, TryLater
from worker.steps.context import BOTH, ProfileContext
from worker.steps.stopping import Stopping

RUN_PAUSE = 10.0
"""Seconds an embedded run waits between its rounds of attempts, until it gives up."""


class DialogOpener:
    """Opens dialogs for one crew."""

    def __init__(self, context: ProfileContext, crew: Crew, stop: Stopping) -> None:
        self._context = context
        self._crew = crew
        self._stop = stop
        self._froze = False  # a dialog was turned away, and the fleet's uploads held for it

    async def open(self, files: Sequence[FileId] = ()) -> DialogSession | None:
        """Open one dialog session for these files; again while the service is merely out of sorts.

        Returns None when the files that it was for should be handed back: the service is out of
        reach, wants nothing of this profile, or the process stops; all of that has been seen to.

        Raises:
            NoUploadNode: the dialog has no place for files, and another would have none either.
        """
        for attempt in range(1, DIALOG_ATTEMPTS + 1):
            if self._stop:
                return None
            try:
                return await self._open_once(files)
            except ProfileStopped as error:
                await self._context.stop(self._crew, error)
                return None
            except TryLater as error:
                if attempt == DIALOG_ATTEMPTS:
                    await self._out_of_reach(error)
                else:
                    await self._pause(attempt, error)
        return None

    async def _open_once(self, files: Sequence[FileId]) -> DialogSession:
        context = self._context
        session = await context.timed("dialog", context.dialogs.open(), *files)
        context.reach.reached()
        context.trial.acquit()
        context.categories = session.node.categories
        if self._froze:
            self._froze = False
            await context.thaw("upload")
        return session

    async def _pause(self, attempt: int, error: TryLater) -> None:
        context = self._context
        context.reach.missed()
        context.telemetry.event(
            "dialog_failed", profile=context.profile, attempt=attempt, reason=error.message
        )
        if isinstance(error, ServiceBusy):
            self._froze = True
            await context.busy("upload", error)
        await self._stop.sleep(max(dialog_backoff(attempt), context.gate.left("upload")))

    async def _out_of_reach(self, error: TryLater) -> None:
        context = self._context
        missed = context.reach.missed()
        if not is_run(self._crew):
            await context.freeze(BOTH, error)
        elif missed < context.rules.unreachable_after:
            await context.freeze(BOTH, error, RUN_PAUSE)
        else:
            await context.fail_run(self._crew, ErrorCode.SERVICE_UNAVAILABLE, error.message)
