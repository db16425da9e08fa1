"""The categories' breakers, where the profile asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from worker.core.breaker import Applicant
from worker.core.lifecycle import FileState
from worker.core.model.files import QueuedFile
from worker.core.model.ids import FileId
from worker.core.planning import Assignment
from worker.core.verdicts import Ended
from worker.ports.queue import Breakers
from worker.ports.telemetry import Telemetry
from worker.steps.grouping import persistently

_WELL = frozenset({FileState.SUCCEEDED, FileState.PARTIAL})


class CategoryBreakers:
    """Holds the files of a category whose files fail one after another.

    Args:
        store: where the fleet shares them.
        limit: failures in a row that open one, None when they are not wanted.
    """

    def __init__(
        self, store: Breakers, profile: str, limit: int | None, telemetry: Telemetry
    ) -> None:
        self._store = store
        self._profile = profile
        self._limit = limit
        self._telemetry = telemetry

    async def held(
        self, assignments: Sequence[Assignment], files: Mapping[FileId, QueuedFile]
    ) -> frozenset[FileId]:
        """The files that wait now, and are not in hand any more."""
        if self._limit is None or not assignments:
            return frozenset()
        applicants = [
            Applicant(each.file, files[each.file].token, each.category.name) for each in assignments
        ]
        return await persistently(self._store.held_back, self._profile, applicants)

    async def heard(self, category: str | None, verdict: Ended) -> None:
        """A file has ended: it counts when it went well, or when it failed."""
        well = verdict.state in _WELL
        if self._limit is None or category is None:
            return
        if not well and (verdict.state is not FileState.FAILED or verdict.error is None):
            return
        code = None if well or verdict.error is None else str(verdict.error.code)
        limit, profile = self._limit, self._profile
        turn = await persistently(self._store.heard_of, profile, category, code, limit)
        if turn == "opened":
            self._telemetry.event("breaker_opened", profile=profile, category=category, code=code)
        elif turn == "closed":
            self._telemetry.event("breaker_closed", profile=profile, category=category)
