"""Whether refused calls are the credentials' fault: a dialog with the same ones tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from worker.errors import IngestError, ProfileStopped
from worker.steps.loop import clock

TRIAL_EVERY = 60.0
"""Seconds for which what the last trial found is held to be true."""


class CredentialTrial:
    """One process's trial of a profile's credentials.

    An upload or status call that is refused with 401, 403 or in such words proves nothing: a
    firewall dislikes one file, a right is taken away for uploads alone, a file exceeds a "token
    limit". So a dialog is opened, once for all calls that were refused at about the same time,
    and only what it is told convicts the credentials.

    Args:
        open_dialog: opens one dialog and raises as `ports.service.Dialogs.open`.
        every: seconds between two trials, at least.
    """

    def __init__(
        self, open_dialog: Callable[[], Awaitable[object]], every: float = TRIAL_EVERY
    ) -> None:
        self._open_dialog = open_dialog
        self._every = every
        self._last: float | None = None
        self._refusal: ProfileStopped | None = None
        self._lock = anyio.Lock()

    def acquit(self) -> None:
        """A dialog went well: whatever the last trial found is out of date."""
        self._refusal = None

    async def judge(self, error: IngestError) -> IngestError:
        """What a failed call really says: its own error, or that the credentials are refused."""
        if not error.blames_credentials:
            return error
        async with self._lock:
            if self._last is None or clock() >= self._last + self._every:
                self._refusal = await self._hear()
                self._last = clock()
            return self._refusal or error

    async def _hear(self) -> ProfileStopped | None:
        try:
            await self._open_dialog()
        except ProfileStopped as refusal:
            return refusal
        except IngestError:
            return None  # neither one nor the other: in doubt the call's own error stands
        return None
