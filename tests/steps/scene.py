"""Workers' steps on the fakes, a real SQLite store and virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import anyio
from sqlalchemy import Row, select

from tests.contract.bench import CREW, PROFILE, Bench
from tests.fakes import Events, FakeService, FakeSources, FakeWaker
from tests.simulation.loop import VirtualLoop
from tests.simulation.store import CalmDatabase, Shelf
from worker.adapters.database import SqlStore
from worker.adapters.database.tables import file_events, files, service_state, uploads
from worker.core.lifecycle import FileState, Lane
from worker.core.model.batches import NewBatch
from worker.core.model.files import ClaimedFile
from worker.core.model.ids import BatchId, Crew
from worker.core.rules import Rules
from worker.errors import StoreUnavailable
from worker.steps.context import ProfileContext
from worker.steps.poll import PollShift
from worker.steps.recorder import Recorder
from worker.steps.register import register
from worker.steps.shift_limits import poll_limits, submit_limits
from worker.steps.stopping import Stopping
from worker.steps.submit import SubmitShift

GRACE = 10.0


class ShakyDatabase(CalmDatabase):
    """The database as one worker reaches it.

    Its next `away` calls fail; the next `lost` writes are committed, and nobody hears of it.
    `writes` counts those that were committed.
    """

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf)
        self.away = 0
        self.lost = 0
        self.writes = 0

    def _guarded(self, work, *, writes: bool):
        if self.away:
            self.away -= 1
            raise StoreUnavailable("restarting")
        result = super()._guarded(work, writes=writes)
        self.writes += writes
        if writes and self.lost:
            self.lost -= 1
            raise StoreUnavailable("gone before it answered")
        return result


class Worker:
    """One process's steps for the profile."""

    def __init__(self, scene: Scene, name: str, crew: Crew) -> None:
        self.crew = crew
        self.database = ShakyDatabase(scene.shelf)
        self.store = SqlStore(self.database)
        self.recorder = Recorder(self.store)
        self.stop = Stopping()
        self.context = ProfileContext(
            rules=scene.rules,
            holder=name,
            store=self.store,
            recorder=self.recorder,
            telemetry=scene.events,
            dialogs=scene.service,
            uploads=scene.service,
            statuses=scene.service,
            sources=scene.sources,
        )

    async def submit(self) -> float | None:
        """One submit shift, until nothing is due."""
        limits = replace(submit_limits(self.context.rules, GRACE), linger=0.0)
        return await SubmitShift(self.context, self.crew, self.stop, limits).run()

    async def poll(self) -> float | None:
        """One poll shift, until nothing is due."""
        limits = replace(poll_limits(self.context.rules, GRACE), linger=0.0)
        return await PollShift(self.context, self.crew, self.stop, limits).run()


class Scene:
    """The world around workers; what is set here before a worker begins is what it meets.

    Attributes:
        rules: what the profile is configured to do.
        store: the database for who looks on.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.rules = Rules(PROFILE)
        self.service = FakeService()
        self.sources = FakeSources()
        self.events = Events()
        self.waker = FakeWaker()
        self.store = SqlStore(CalmDatabase(shelf))
        shelf.clock = virtual_now

    def hand_in(self, *names: str, crew: Crew = CREW, **more: Any) -> BatchId:
        """A batch of these files, sealed."""
        batch = BatchId(uuid4())
        register(self.store, NewBatch(batch, PROFILE, crew, **more), [f"/in/{n}" for n in names])
        return batch

    @asynccontextmanager
    async def worker(self, name: str = "w1", crew: Crew = CREW) -> AsyncIterator[Worker]:
        """A worker, whose recorder writes until the end of the block."""
        worker = Worker(self, name, crew)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.recorder.run)
            yield worker
            await worker.recorder.flush()
            tasks.cancel_scope.cancel()

    async def submitted(self, *names: str, **more: Any) -> BatchId:
        """A batch whose files a worker of former days has uploaded: they are polled."""
        batch = self.hand_in(*names, **more)
        async with self.worker("former", more.get("crew", CREW)) as worker:
            await worker.submit()
        assert set(self.states().values()) == {FileState.POLLING}
        return batch

    # --- what ended up in the store ---

    def row(self, name: str) -> Row[Any]:
        """The file of this name."""
        return self.rows(select(files).where(files.c.name == name))[0]

    def states(self) -> dict[str, FileState]:
        """Where each file stands."""
        chosen = select(files.c.name, files.c.state).order_by(files.c.turn)
        return {row.name: FileState(row.state) for row in self.rows(chosen)}

    def story(self, name: str) -> list[str]:
        """The file's events."""
        file = self.row(name).id
        chosen = select(file_events).where(file_events.c.file_id == file)
        return [row.event for row in self.rows(chosen.order_by(file_events.c.id))]

    def uploads(self, name: str) -> list[str]:
        """Where the file's uploads stand, in their order."""
        file = self.row(name).id
        chosen = select(uploads).where(uploads.c.file_id == file)
        return [row.state for row in self.rows(chosen.order_by(uploads.c.attempt))]

    def frozen(self) -> dict[str, float]:
        """The freezes that are not over: the kind of call, and the seconds left."""
        return {
            row.channel: row.frozen_until.timestamp() - self.store.now()
            for row in self.rows(select(service_state))
            if row.frozen_until is not None and row.frozen_until.timestamp() > self.store.now()
        }

    def due_in(self, name: str) -> float:
        """Seconds until the file wants attention."""
        return self.row(name).next_at.timestamp() - self.store.now()

    def lose_leases(self, lane: Lane) -> list[ClaimedFile]:
        """All leases run out, as while a worker sleeps, and another worker has the files now."""
        Bench(self.store).expire_leases()
        return list(Bench(self.store).claim(lane).files)

    def rows(self, statement: Any) -> list[Row[Any]]:
        with self.shelf.connection() as connection:
            return list(connection.execute(statement))


def virtual_now() -> float:
    """The virtual clock of the test's loop, 0 while none runs."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return 0.0
    assert isinstance(loop, VirtualLoop)
    return loop.now
