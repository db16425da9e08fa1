"""Open a dialog for a load, as often as it makes sense, and say when it no longer does."""

from __future__ import annotations

from worker.core.model import Crew, DialogSession, is_run
from worker.core.pacing import DIALOG_ATTEMPTS, dialog_backoff
from worker.errors import CredentialsRefused, ServiceBusy, TryLater
from worker.steps.service import BOTH, Service
from worker.steps.stopping import Stopping

RUN_PAUSE = 10.0
"""Seconds an embedded run waits between its rounds of attempts, until it gives up."""


class Opening:
    """Opens dialogs for one crew."""

    def __init__(self, service: Service, crew: Crew, stop: Stopping) -> None:
        self._service = service
        self._crew = crew
        self._stop = stop
        self._froze = False  # a dialog was turned away, and the fleet's uploads held for it

    async def open(self) -> DialogSession | None:
        """Open one dialog session, trying again while the service is merely not at its best.

        Returns None when the files that it was for should be handed back: the service is out of
        reach, refuses the credentials, or the process stops; all of that has been seen to.

        Raises:
            NoUploadNode: the dialog has no place for files, and another would have none either.
        """
        for attempt in range(1, DIALOG_ATTEMPTS + 1):
            if self._stop:
                return None
            try:
                return await self._open_once()
            except CredentialsRefused as error:
                await self._service.refused(self._crew, error)
                return None
            except TryLater as error:
                if attempt == DIALOG_ATTEMPTS:
                    await self._out_of_reach(error)
                else:
                    await self._pause(attempt, error)
        return None

    async def _open_once(self) -> DialogSession:
        service = self._service
        session = await service.timed("dialog", service.dialogs.open())
        service.reach.reached()
        service.categories = session.node.categories
        if self._froze:
            self._froze = False
            await service.thaw("upload")
        return session

    async def _pause(self, attempt: int, error: TryLater) -> None:
        service = self._service
        service.reach.missed()
        service.telemetry.event(
            "dialog_failed", profile=service.profile, attempt=attempt, reason=error.message
        )
        if isinstance(error, ServiceBusy):
            self._froze = True
            await service.busy("upload", error)
        await self._stop.sleep(max(dialog_backoff(attempt), service.gate.left("upload")))

    async def _out_of_reach(self, error: TryLater) -> None:
        service = self._service
        missed = service.reach.missed()
        if not is_run(self._crew):
            await service.freeze(BOTH, error)
        elif missed < service.rules.unreachable_after:
            await service.freeze(BOTH, error, RUN_PAUSE)
        else:
            await service.fail_run(self._crew, "service_unavailable", error.message)
