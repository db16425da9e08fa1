"""Fire the schedules that are due: hand the new and changed files of their folders in as a batch.

A firing is recorded last. Whoever dies before that leaves it to the next tick, which does all of
it again, into the same batch: its external key names the first due time that was not fired yet,
however late it is. For the same reason nothing goes wrong when two processes fire at once; the
lead only saves work.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import anyio
from anyio import to_thread

from worker.codes import ErrorCode
from worker.core.model.fleet import SeenFile
from worker.core.schedule import Schedule, last_due_before, next_due
from worker.errors import IngestError, SourceRejected
from worker.ports.batches import HandIn
from worker.ports.sources import Listing, Sources
from worker.ports.store import Schedules, Store
from worker.ports.telemetry import Telemetry
from worker.steps.leading import leading
from worker.steps.stopping import Stopping

_READERS = 4
"""Files that are read at once to compare their contents."""


@dataclass(frozen=True)
class ScheduleDeps:
    """The collaborators of a firing.

    Attributes:
        stopping: when it is set, a firing that still waits is left to the next tick.
    """

    store: Store
    listing: Listing
    sources: Sources
    hand_in: HandIn
    telemetry: Telemetry
    stopping: Stopping


async def fire_due(deps: ScheduleDeps, schedules: Collection[Schedule], holder: str) -> list[str]:
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
    fired: list[str] = []
    if schedules:
        async with leading(deps.store, holder, deps.telemetry) as leads:
            if leads:
                await _fire_all(deps, schedules, fired)
    return fired


async def _fire_all(deps: ScheduleDeps, schedules: Collection[Schedule], fired: list[str]) -> None:
    now = await to_thread.run_sync(deps.store.now)
    async with anyio.create_task_group() as tasks:
        for schedule in schedules:
            tasks.start_soon(_fire_if_due, deps, schedule, now, fired)


async def _fire_if_due(
    deps: ScheduleDeps, schedule: Schedule, now: float, fired: list[str]
) -> None:
    """Fire one schedule, or say why it can't be: its fault is no other schedule's."""
    try:
        last = await to_thread.run_sync(deps.store.last_due, schedule.name)
        due = last_due_before(schedule, now)
        if last is not None and due <= last:
            return
        if last is not None and not await _fire(deps, schedule, next_due(schedule, last)):
            return
        if await to_thread.run_sync(deps.store.fire, schedule.name, due) and last is not None:
            fired.append(schedule.name)
    except Exception as error:  # noqa: BLE001 - as said above; the next tick tries again
        message = error.message if isinstance(error, IngestError) else type(error).__name__
        deps.telemetry.event("schedule_failed", schedule=schedule.name, message=message)


async def fire_now(deps: ScheduleDeps, schedule: Schedule) -> None:
    """Fire a schedule out of its turn: hand in what is new; its next due time stays."""
    await _fire(deps, schedule, await to_thread.run_sync(deps.store.now))


async def _fire(deps: ScheduleDeps, schedule: Schedule, due: float) -> bool:
    """Hand in what is new, then remember it; False when it was left to the next tick."""
    fresh = await to_thread.run_sync(_fresh, deps, schedule)
    stable = await _stable(deps, schedule, fresh)
    if deps.stopping:
        return False
    known = await _with_digests(deps.sources, stable)
    changed = await to_thread.run_sync(_changed, deps.store, schedule.name, known)
    moment = datetime.fromtimestamp(due, UTC).isoformat()
    if changed:
        key = f"schedule:{schedule.name}:{moment}"
        held = await to_thread.run_sync(_hand_in, deps, schedule, key, changed)
        known = [file for file in known if held.get(file.source) in {None, file.sha256}]
    await to_thread.run_sync(deps.store.remember, schedule.name, known)
    deps.telemetry.event(
        "schedule_fired",
        schedule=schedule.name,
        due=moment,
        files=len(changed),
        still_written=len(fresh) - len(stable),
    )
    return True


def _fresh(deps: ScheduleDeps, schedule: Schedule) -> list[SeenFile]:
    found = deps.listing.look(schedule.paths, glob=schedule.glob, recursive=schedule.recursive)
    return deps.store.unseen(schedule.name, found)


async def _stable(deps: ScheduleDeps, schedule: Schedule, fresh: list[SeenFile]) -> list[SeenFile]:
    """Those files that stay as they are for a while: one wait for all of them."""
    if not fresh or not schedule.stable_for:
        return fresh
    await deps.stopping.sleep(schedule.stable_for)
    again = await to_thread.run_sync(_look_again, deps.listing, [file.source for file in fresh])
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
            return content.sha256 or ""
    except SourceRejected as error:
        return None if error.code in {ErrorCode.NOT_FOUND, ErrorCode.CHANGED} else ""


def _changed(store: Schedules, schedule: str, files: list[SeenFile]) -> list[SeenFile]:
    """Those whose contents are not what the schedule handed in last under that name."""
    return [
        file
        for file in files
        if not file.sha256 or store.seen_digest(schedule, file.source) != file.sha256
    ]


def _hand_in(
    deps: ScheduleDeps, schedule: Schedule, key: str, files: list[SeenFile]
) -> dict[str, str | None]:
    """Hand the files in; says with which digests the batch held files before, if it did.

    A file that changed between a firing that was cut short and its repetition is in the batch with
    the old contents: it must not be remembered with the new ones, or they would be missed.
    """
    batch, new = deps.hand_in(
        profile=schedule.profile,
        external_key=key,
        category=schedule.category,
        after=schedule.after,
        sources=[file.source for file in files],
    )
    if new == len(files):
        return {}
    return {file.source: file.sha256 for file in deps.store.results(batch)}
