"""What one process needs to work: an event loop, the connections, and the shifts.

The loop runs in a thread of its own and does all the talking, while Celery's task threads merely
wait for it. It knows nothing about the pool that it runs under: prefork, threads and solo each get
one per process.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock
from uuid import uuid4

from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from worker.adapters.database import SqlStore
from worker.adapters.listing import FileListing
from worker.adapters.silence import silence_libraries
from worker.adapters.sources import FileSources
from worker.adapters.takeaway import LocalTakeAway
from worker.adapters.webhook import Webhooks
from worker.bootstrap import HandIn, hand_in
from worker.client import batch_id_for
from worker.connections import Connections
from worker.core.lifecycle import Lane
from worker.core.model import BatchId, Crew, Due, fleet, is_run
from worker.core.schedule import Schedule
from worker.errors import ConfigurationError, IngestError, StoreUnavailable
from worker.ports import Telemetry, Waker
from worker.settings import Settings
from worker.steps import sweep
from worker.steps.learning import SHARE_EVERY
from worker.steps.notify import deliver
from worker.steps.paces import poll_pace, submit_pace
from worker.steps.poll import Polling
from worker.steps.recorder import Recorder
from worker.steps.schedule import Clockwork, fire_due
from worker.steps.service import Service
from worker.steps.stopping import Stopping
from worker.steps.submit import Submitting
from worker.steps.takeaway import tidy
from worker.telemetry import LogTelemetry

COLLECT_AFTER = (20_000, 50, 100)
"""Allocations between two garbage collections, and so on. What a file needs is freed without
them; looking for cycles at Python's pace of 700 costs a fifteenth of all CPU."""


@dataclass(frozen=True, slots=True)
class Hours:
    """How a process works, in seconds.

    Attributes:
        grace: how long what is in hand may take to end once the process is told to stop.
        tick: between two sweeps.
    """

    grace: float = 25.0
    tick: float = 1.0


class Runtime:
    """One process's event loop, connections and shifts.

    Args:
        crew: the one crew that this process belongs to; None for a worker of the fleet, which
            attends to every profile and delivers notifications.
        on_finished: called, from a thread, when this process has found batches finished.
    """

    def __init__(
        self,
        settings: Settings,
        store: SqlStore,
        waker: Waker,
        *,
        telemetry: Telemetry | None = None,
        crew: Crew | None = None,
        hours: Hours | None = None,
        on_finished: Callable[[], None] = lambda: None,
    ) -> None:
        silence_libraries()
        gc.set_threshold(*COLLECT_AFTER)
        self.settings = settings
        self.store = store
        self.telemetry = telemetry or LogTelemetry()
        self._waker = waker
        self._crew = crew
        self._hours = hours or Hours()
        self._on_finished = on_finished
        # One run works on a database at a time, and takes over the share of one that was killed.
        self._holder = "run" if crew is not None else str(uuid4())
        self._exits = ExitStack()
        self._portal: BlockingPortal = self._exits.enter_context(start_blocking_portal("asyncio"))
        self._connections: dict[str, Connections] = {}
        self._at_work: set[tuple[Crew, Lane]] = set()
        self._lock = Lock()
        self._background: list[Future[None]] = []
        self._stop: Stopping = self._portal.call(Stopping)
        self._recorder: Recorder = self._portal.call(Recorder, store)
        self._background.append(self._portal.start_task_soon(self._recorder.run))
        self._background.append(self._portal.start_task_soon(self._keep_learning))

    # --- called from Celery's threads ---

    def shift(self, lane: Lane, profile: str, crew: Crew) -> None:
        """Work a shift, unless this process works the same one already."""
        with self._lock:
            if (crew, lane) in self._at_work:
                return
            self._at_work.add((crew, lane))
        try:
            wait = self._portal.call(self._work, lane, profile, crew)
        except ConfigurationError as error:  # the files wait until somebody has mended it
            self.telemetry.event("step_failed", step=lane, profile=profile, reason=error.message)
            return
        finally:
            with self._lock:
                self._at_work.discard((crew, lane))
        if wait is not None and wait <= sweep.LOOK_AHEAD and not self._stop:
            self._waker.wake(profile, crew, lane)

    def start_ticking(self, also: Callable[[], None] = lambda: None) -> None:
        """Sweep from now on, so that work goes on though nobody else wakes us.

        Args:
            also: called at every sweep, from a thread.
        """
        self._background.append(self._portal.start_task_soon(self._tick_on, also))

    def sweep(self) -> None:
        """Sweep once."""
        if sweep.finish(self.store, self.telemetry):
            self._on_finished()
        if self._crew is None and self.store.notifications_due():
            self._waker.wake_notify()
        sweep.wake_due(self.store, self._waker, mine=self._is_mine, busy=self._is_busy)

    def deliver(self) -> None:
        """Deliver the notifications that are due."""
        self._portal.call(self._deliver)

    def keep_schedules(self, schedules: Sequence[Schedule]) -> None:
        """Fire the schedules that are due, and carry out what they want done afterwards."""
        self._portal.call(self._keep_schedules, schedules)

    def drain(self) -> None:
        """Claim nothing more; shifts bring what is in hand to an end and return."""
        self._portal.start_task_soon(self._set_stop)

    def close(self) -> None:
        """Let go of everything; call it when no shift runs any more."""
        try:
            self._portal.call(self._close)
        finally:
            for task in self._background:
                task.cancel()
            self._exits.close()

    # --- on the event loop ---

    async def _work(self, lane: Lane, profile: str, crew: Crew) -> float | None:
        service = await self._service(profile)
        grace = self._hours.grace
        match lane:
            case Lane.SUBMIT:
                pace = submit_pace(service.rules, grace)
                return await Submitting(service, crew, self._stop, pace).run()
            case Lane.POLL:
                pace = poll_pace(service.rules, grace)
                return await Polling(service, crew, self._stop, pace).run()

    async def _service(self, name: str) -> Service:
        """The profile's service, made on first use: on the loop, where its connections live."""
        if name not in self._connections:
            self._connections[name] = Connections.make(
                self.settings,
                name,
                holder=self._holder,
                store=self.store,
                recorder=self._recorder,
                telemetry=self.telemetry,
            )
            await self._connections[name].service.learning.share()
        return self._connections[name].service

    async def _keep_learning(self) -> None:
        while not self._stop:
            await self._stop.sleep(SHARE_EVERY)
            for connections in list(self._connections.values()):
                await connections.service.learning.share(everything=bool(self._stop))

    async def _deliver(self) -> None:
        secret = self.settings.webhook_secret
        webhooks = Webhooks(
            secret.get_secret_value() if secret else None, self.settings.webhook_allow
        )
        send_task = self._waker.send_notification
        while await deliver(self.store, webhooks, send_task, self.telemetry) and not self._stop:
            pass

    async def _keep_schedules(self, schedules: Sequence[Schedule]) -> None:
        world = Clockwork(
            store=self.store,
            listing=FileListing(self.settings.roots),
            sources=FileSources(self.settings.roots, self.settings.max_file_bytes),
            hand_in=self._hand_in_scheduled,
            telemetry=self.telemetry,
            stopping=self._stop,
        )
        await fire_due(world, schedules, str(uuid4()))
        await tidy(self.store, LocalTakeAway(self.settings.roots), self.telemetry)

    def _hand_in_scheduled(
        self,
        *,
        profile: str,
        external_key: str,
        category: str | None,
        after: str,
        sources: Sequence[str],
    ) -> tuple[BatchId, int]:
        batch = BatchId(batch_id_for(profile, external_key))
        request = HandIn(
            batch, profile=profile, external_key=external_key, category=category, after=after
        )
        new = hand_in(self.store, request, sources)
        self._waker.wake(profile, fleet(profile), Lane.SUBMIT)
        return batch, new

    async def _tick_on(self, also: Callable[[], None]) -> None:
        while not self._stop:
            try:
                await to_thread.run_sync(also)
                await to_thread.run_sync(self.sweep)
                for profile in await to_thread.run_sync(self.store.paused):
                    service = await self._service(profile)
                    await sweep.probe(self.store, service.dialogs, profile, self.telemetry)
            except StoreUnavailable as error:
                self.telemetry.event("store_unavailable", reason=error.message)
            except IngestError as error:
                self.telemetry.event("step_failed", step="sweep", reason=error.message)
            await self._stop.sleep(self._hours.tick)

    def _is_mine(self, crew: Crew) -> bool:
        return not is_run(crew) if self._crew is None else crew == self._crew

    def _is_busy(self, due: Due) -> bool:
        return (due.crew, due.lane) in self._at_work

    async def _set_stop(self) -> None:
        self._stop.set()

    async def _close(self) -> None:
        self._stop.set()
        await self._recorder.flush()
        for connections in self._connections.values():
            await connections.close()
