"""Fire the schedules that are due: hand the new and changed files of their folders in as a batch.

A firing is recorded last. Whoever dies before that leaves it to the next tick, which does all of
it again, into the same batch: its external key names the first due time that was not fired yet,
however late it is. For the same reason nothing goes wrong when two processes fire at once; the
lead only saves work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import anyio
from anyio import CancelScope, to_thread

from worker.core.lifecycle import FileState
from worker.core.model import BatchId, FileResult, SeenFile
from worker.core.schedule import Schedule, last_due_before, next_due
from worker.errors import IngestError, SourceRejected, TryLater
from worker.ports import Schedules, Sources, Telemetry
from worker.steps.stopping import Stopping

LEASE = 60.0
"""Seconds that the lead holds: a dead leader's firing is done by another after that."""

RENEW_EVERY = 15.0

_READERS = 4
"""Files that are read at once to compare their contents."""


class ScheduleStore(Schedules, Protocol):
    """The part of the store that schedules need."""

    def now(self) -> float:
        """The database's clock, POSIX seconds."""
        ...

    def results(
        self, batch: BatchId, states: Collection[FileState] | None = None
    ) -> Iterator[FileResult]:
        """Every file of the batch."""
        ...


class Listing(Protocol):
    """Looks at folders and files; blocking."""

    def look(
        self, paths: Sequence[str], *, glob: str | None = None, recursive: bool = False
    ) -> Iterable[SeenFile]:
        """Every file with its size and time of change, as it is right now.

        A path that is a file gives itself, whatever the glob; what is not there gives nothing.
        """
        ...


class HandIn(Protocol):
    """Registers a batch for the workers and wakes them; blocking, and safe to repeat."""

    def __call__(
        self,
        *,
        profile: str,
        external_key: str,
        category: str | None,
        after: str,
        sources: Sequence[str],
    ) -> tuple[BatchId, int]:
        """Create the batch with this key, or find it again, and add the files it lacks.

        Returns:
            The batch, and how many of the files were new to it.
        """
        ...


@dataclass(frozen=True)
class Clockwork:
    """What firing needs from the world.

    Attributes:
        stopping: when it is set, a firing that still waits is left to the next tick.
    """

    store: ScheduleStore
    listing: Listing
    sources: Sources
    hand_in: HandIn
    telemetry: Telemetry
    stopping: Stopping


async def fire_due(world: Clockwork, schedules: Collection[Schedule], holder: str) -> list[str]:
    """Fire every schedule that is due, if nobody else is at it.

    Due times that were missed are caught up by one firing. A schedule that was never seen before
    starts from now.

    Args:
        world: what firing needs.
        schedules: all schedules of the file.
        holder: a name that no other running tick has.

    Returns:
        The names of the schedules that were fired.

    Raises:
        StoreUnavailable: the database is away; the next tick goes on.
    """
    if not schedules or not await to_thread.run_sync(world.store.lead, holder, LEASE):
        return []
    now = await to_thread.run_sync(world.store.now)
    fired: list[str] = []
    async with _leading(world.store, holder), anyio.create_task_group() as tasks:
        for schedule in schedules:
            tasks.start_soon(_fire_if_due, world, schedule, now, fired)
    return fired


@asynccontextmanager
async def _leading(store: Schedules, holder: str) -> AsyncIterator[None]:
    """Renew the lead while the block runs, and give it up afterwards."""

    async def renew() -> None:
        while True:
            await anyio.sleep(RENEW_EVERY)
            with suppress(TryLater):
                await to_thread.run_sync(store.lead, holder, LEASE)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(renew)
            yield
            tasks.cancel_scope.cancel()
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(store.lead, holder, 0.0)


async def _fire_if_due(world: Clockwork, schedule: Schedule, now: float, fired: list[str]) -> None:
    """Fire one schedule, or say why it can't be: its fault is no other schedule's."""
    try:
        last = await to_thread.run_sync(world.store.last_due, schedule.name)
        due = last_due_before(schedule, now)
        if last is not None and due <= last:
            return
        if last is not None and not await _fire(world, schedule, next_due(schedule, last)):
            return
        if await to_thread.run_sync(world.store.fire, schedule.name, due) and last is not None:
            fired.append(schedule.name)
    except Exception as error:  # noqa: BLE001 - as said above; the next tick tries again
        message = error.message if isinstance(error, IngestError) else type(error).__name__
        world.telemetry.event("schedule_failed", schedule=schedule.name, message=message)


async def _fire(world: Clockwork, schedule: Schedule, due: float) -> bool:
    """Hand in what is new, then remember it; False when it was left to the next tick."""
    fresh = await to_thread.run_sync(_fresh, world, schedule)
    stable = await _stable(world, schedule, fresh)
    if world.stopping:
        return False
    known = await _with_digests(world.sources, stable)
    changed = await to_thread.run_sync(_changed, world.store, schedule.name, known)
    moment = datetime.fromtimestamp(due, UTC).isoformat()
    if changed:
        key = f"schedule:{schedule.name}:{moment}"
        held = await to_thread.run_sync(_hand_in, world, schedule, key, changed)
        known = [file for file in known if held.get(file.source) in {None, file.sha256}]
    await to_thread.run_sync(world.store.remember, schedule.name, known)
    world.telemetry.event(
        "schedule_fired",
        schedule=schedule.name,
        due=moment,
        files=len(changed),
        still_written=len(fresh) - len(stable),
    )
    return True


def _fresh(world: Clockwork, schedule: Schedule) -> list[SeenFile]:
    found = world.listing.look(schedule.paths, glob=schedule.glob, recursive=schedule.recursive)
    return world.store.unseen(schedule.name, found)


async def _stable(world: Clockwork, schedule: Schedule, fresh: list[SeenFile]) -> list[SeenFile]:
    """Those files that stay as they are for a while: one wait for all of them."""
    if not fresh or not schedule.stable_for:
        return fresh
    await world.stopping.sleep(schedule.stable_for)
    again = await to_thread.run_sync(_look_again, world.listing, [file.source for file in fresh])
    return [file for file in fresh if file in again]


def _look_again(listing: Listing, sources: list[str]) -> set[SeenFile]:
    return set(listing.look(sources))


async def _with_digests(sources: Sources, files: list[SeenFile]) -> list[SeenFile]:
    """The files with the digest of their contents; a file that is gone by now is left out."""
    known: list[SeenFile] = []
    waiting = iter(files)

    async def read() -> None:
        for file in waiting:
            digest = await _digest(sources, file.source)
            if digest is not None:
                known.append(replace(file, sha256=digest))

    async with anyio.create_task_group() as tasks:
        for _ in range(_READERS):
            tasks.start_soon(read)
    return sorted(known, key=lambda file: file.source)


async def _digest(sources: Sources, source: str) -> str | None:
    """The file's sha256, or None when it is not to be had this time.

    It is "" for a file that may not be read: its batch will say why.
    """
    try:
        async with sources.open(source) as content:
            async for _ in content.chunks():
                pass
            return content.sha256
    except SourceRejected as error:
        return None if error.code in {"not_found", "changed"} else ""


def _changed(store: Schedules, schedule: str, files: list[SeenFile]) -> list[SeenFile]:
    """Those whose contents are not what the schedule handed in last under that name."""
    return [
        file
        for file in files
        if not file.sha256 or store.seen_digest(schedule, file.source) != file.sha256
    ]


def _hand_in(
    world: Clockwork, schedule: Schedule, key: str, files: list[SeenFile]
) -> dict[str, str | None]:
    """Hand the files in; says with which digests the batch held files before, if it did.

    A file that changed between a firing that was cut short and its repetition is in the batch with
    the old contents: it must not be remembered with the new ones, or they would be missed.
    """
    batch, new = world.hand_in(
        profile=schedule.profile,
        external_key=key,
        category=schedule.category,
        after=schedule.after,
        sources=[file.source for file in files],
    )
    if new == len(files):
        return {}
    return {file.source: file.sha256 for file in world.store.results(batch)}
