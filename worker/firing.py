"""What schedules need, put together: folders to list, files to read, batches to hand in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from worker.adapters.database import SqlStore
from worker.adapters.files.listing import FileListing
from worker.adapters.files.sources import FileSources
from worker.bootstrap import HandInRequest, hand_in
from worker.core.model.ids import BatchId
from worker.core.naming import batch_id_for
from worker.ports.telemetry import Telemetry
from worker.settings import Settings
from worker.steps.schedule import ScheduleDeps
from worker.steps.stopping import Stopping

HandedIn = Callable[[BatchId, str, int], None]
"""Told, from a thread, of a batch, its profile, and how many files were new to it."""


def schedule_deps(
    settings: Settings,
    store: SqlStore,
    telemetry: Telemetry,
    stopping: Stopping,
    handed_in: HandedIn,
) -> ScheduleDeps:
    """The collaborators of a firing in this process."""

    def take(
        *, profile: str, external_key: str, category: str | None, after: str, sources: Sequence[str]
    ) -> tuple[BatchId, int]:
        batch = BatchId(batch_id_for(profile, external_key))
        request = HandInRequest(
            batch, profile=profile, external_key=external_key, category=category, after=after
        )
        new = hand_in(store, request, sources)
        handed_in(batch, profile, new)
        return batch, new

    return ScheduleDeps(
        store=store,
        listing=FileListing(settings.roots, settings.source_options),
        sources=FileSources(settings.roots, settings.max_file_bytes, settings.source_options),
        hand_in=take,
        telemetry=telemetry,
        stopping=stopping,
    )
