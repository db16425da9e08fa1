"""What one process needs to work: an event loop, the connections, and the shifts.

The loop runs in a thread of its own and does all the talking, while Celery's task threads merely
wait for it. It knows nothing about the pool that it runs under: prefork, threads and solo each get
one per process.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from socket import gethostname
from threading import Event, Lock, Thread
from uuid import uuid4

from anyio import create_task_group, to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from worker.adapters.chatflow.library_logging import silence_libraries
from worker.adapters.database import SqlStore
from worker.adapters.files.remote_takeaway import FileTakeAway
from worker.adapters.webhook import SignedWebhooks
from worker.connections import Connections
from worker.core.lifecycle import Lane
from worker.core.liveness import BEAT_EVERY, SILENT_AFTER, Steadiness
from worker.core.model.fleet import Due
from worker.core.model.ids import BatchId, Crew, fleet, is_run
from worker.core.schedule import Schedule, parse_schedules, unsanctioned
from worker.errors import ConfigurationError, IngestError
from worker.firing import schedule_deps
from worker.ports.broker import Waker
from worker.ports.telemetry import Telemetry
from worker.settings import Settings
from worker.steps import sweep
from worker.steps.context import ProfileContext
from worker.steps.lasting import keep_doing, report
from worker.steps.learning import SHARE_EVERY
from worker.steps.notify import deliver
from worker.steps.poll import PollShift
from worker.steps.recorder import Recorder
from worker.steps.schedule import fire_due
from worker.steps.shift_limits import poll_limits, submit_limits
from worker.steps.stopping import Stopping
from worker.steps.submit import SubmitShift
from worker.steps.takeaway import tidy
from worker.telemetry import LogTelemetry

COLLECT_AFTER = (20_000, 50, 100)
"""Allocations between two garbage collections, and so on. What a file needs is freed without
them; looking for cycles at Python's pace of 700 costs a fifteenth of all CPU."""

SAY_AGAIN = 60.0
"""Seconds between two warnings about a profile that is not configured here."""


NOT_OURS = "its `after` deletes or moves files, which INGEST_SCHEDULES of this worker does not say"


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
        self.holder = "run" if crew is not None else str(uuid4())
        self._place = f"{gethostname()}:{os.getpid()}"
        self._exits = ExitStack()
        self._portal: BlockingPortal = self._exits.enter_context(start_blocking_portal("asyncio"))
        self._connections: dict[str, Connections] = {}
        self._at_work: set[tuple[Crew, Lane]] = set()
        self._lock = Lock()
        self._background: list[Future[None]] = []
        self._stop: Stopping = self._portal.call(Stopping)
        self._recorder: Recorder = self._portal.call(Recorder, store)
        self._sweep = self._sweeping()
        self._unknown: dict[str, float] = {}  # profiles that only others know, and since when
        self._keep("record", self._recorder.run, every=0.1, stop=None)  # replies come to the end
        self._keep("learn", self._share_experience, every=SHARE_EVERY, stop=self._stop)

        self._closed = Event()
        # In a thread of its own: a busy event loop must not pass for a dead worker.
        self._beating = Thread(target=self._beat_on, name="beat", daemon=True)
        self._beating.start()

    def _sweeping(self) -> sweep.Sweep:
        return sweep.Sweep(
            self.store,
            self._waker,
            self.telemetry,
            self.settings.timings.wake_again,
            notifies=self._crew is None,
            mine=self._is_mine,
            busy=self._is_busy,
        )

    # --- signs of life ---

    def _beat_on(self) -> None:
        steadiness = Steadiness()
        while not self._closed.is_set():
            try:
                self._beat(steadiness)
            except Exception as error:  # noqa: BLE001 - the next one may go well
                report("beat", error, self.telemetry)
            self._closed.wait(BEAT_EVERY)

    def _beat(self, steadiness: Steadiness) -> None:
        silent = self.store.attend(self.holder, self._crew, self._place, SILENT_AFTER)
        may_judge = steadiness.beat(time.monotonic())
        if silent and may_judge and self._crew is None:
            for holder in self.store.bury():
                self.telemetry.event("worker_lost", holder=holder)

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
            self._say_unknown(profile, error)
            return
        finally:
            with self._lock:
                self._at_work.discard((crew, lane))
        if wait is not None and wait <= sweep.LOOK_AHEAD and not self._stop:
            self._waker.wake(profile, crew, lane)

    def start_ticking(self, also: Callable[[], None] | None = None) -> None:
        """Sweep from now on, so that work goes on though nobody else wakes us.

        Args:
            also: called as often as a sweep, from a thread.
        """
        # Apart, so that none of them waits for, or falls with, another one.
        each = partial(self._keep, every=self._hours.tick, stop=self._stop)
        if also is not None:
            each("heartbeat", partial(to_thread.run_sync, also))
        each("sweep", partial(to_thread.run_sync, self.sweep))
        each("probe", self._probe)

    def sweep(self) -> None:
        """Finish batches, wake for notifications and due work, once.

        Blocking; repeating it does no harm. Raises StoreUnavailable.
        """
        if self._sweep.once():
            self._on_finished()

    def deliver(self) -> None:
        """Deliver the notifications that are due."""
        self._portal.call(self._deliver)

    def keep_schedules(self, schedules: Sequence[Schedule]) -> None:
        """Fire the schedules that are due, and carry out what they want done afterwards.

        Those that would delete or move files have to stand in this worker's own file too.
        """
        refused = unsanctioned(schedules, self._own_schedules())
        for schedule in refused:
            self.telemetry.event("schedule_failed", schedule=schedule.name, message=NOT_OURS)
        sanctioned = [each for each in schedules if each not in refused]
        self._portal.call(self._keep_schedules, sanctioned)

    def _own_schedules(self) -> Sequence[Schedule]:
        name = self.settings.schedules
        return parse_schedules(self.settings.schedules_text(), name) if name else ()

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
            self.telemetry.close()

    # --- on the event loop ---

    async def _work(self, lane: Lane, profile: str, crew: Crew) -> float | None:
        context = await self._context(profile)
        grace = self._hours.grace
        match lane:
            case Lane.SUBMIT:
                limits = submit_limits(context.rules, grace)
                return await SubmitShift(context, crew, self._stop, limits).run()
            case Lane.POLL:
                limits = poll_limits(context.rules, grace)
                return await PollShift(context, crew, self._stop, limits).run()

    async def _context(self, name: str) -> ProfileContext:
        """The profile's service, made on first use: on the loop, where its connections live."""
        if name not in self._connections:
            self._connections[name] = Connections.make(
                self.settings,
                name,
                holder=self.holder,
                store=self.store,
                recorder=self._recorder,
                telemetry=self.telemetry,
            )
            await self._connections[name].context.learning.share()
        return self._connections[name].context

    async def _share_experience(self) -> None:
        for connections in list(self._connections.values()):
            await connections.context.learning.share()

    async def _deliver(self) -> None:
        secret = self.settings.webhook_secret
        webhooks = SignedWebhooks(
            secret.get_secret_value() if secret else None, self.settings.webhook_allow
        )
        send_task = self._waker.send_notification
        while await deliver(self.store, webhooks, send_task, self.telemetry) and not self._stop:
            pass

    async def _keep_schedules(self, schedules: Sequence[Schedule]) -> None:
        deps = schedule_deps(self.settings, self.store, self.telemetry, self._stop, self._wake_for)
        await fire_due(deps, schedules, str(uuid4()))
        taker = FileTakeAway(self.settings.roots, self.settings.source_options)
        await tidy(self.store, taker, self.telemetry, str(uuid4()), self._stop)

    def _wake_for(self, _: BatchId, profile: str, __: int) -> None:
        self._waker.wake(profile, fleet(profile), Lane.SUBMIT)

    async def _probe(self) -> None:
        """Probe the profiles that are paused; what is wrong with one is no other's misfortune."""
        paused = await to_thread.run_sync(self.store.paused)
        async with create_task_group() as tasks:
            for profile in paused:
                tasks.start_soon(self._probe_one, profile)

    async def _probe_one(self, profile: str) -> None:
        try:
            context = await self._context(profile)
            await sweep.probe(self.store, context.dialogs, profile, self.telemetry)
        except ConfigurationError as error:
            self._say_unknown(profile, error)
        except Exception as error:  # noqa: BLE001 - the others are probed all the same
            report("probe", error, self.telemetry)

    def _say_unknown(self, profile: str, error: ConfigurationError) -> None:
        """Say that a profile can't be worked on here, now and then: it is met every second."""
        now = time.monotonic()
        if now - self._unknown.get(profile, -inf) >= SAY_AGAIN:
            self._unknown[profile] = now
            self.telemetry.event("step_failed", profile=profile, reason=error.message)

    def _keep(
        self,
        what: str,
        work: Callable[[], Awaitable[object]],
        *,
        every: float,
        stop: Stopping | None,
    ) -> None:
        """Have something done for as long as this process works, whatever goes wrong with it."""
        doing = partial(keep_doing, what, work, every=every, telemetry=self.telemetry, stop=stop)
        self._background.append(self._portal.start_task_soon(doing))

    def _is_mine(self, crew: Crew) -> bool:
        return not is_run(crew) if self._crew is None else crew == self._crew

    def _is_busy(self, due: Due) -> bool:
        return (due.crew, due.lane) in self._at_work

    async def _set_stop(self) -> None:
        self._stop.set()

    async def _close(self) -> None:
        self._stop.set()
        await self._recorder.flush()
        self._closed.set()
        await to_thread.run_sync(self._beating.join)
        with suppress(IngestError):  # else it is believed to be at work for some seconds more
            await to_thread.run_sync(self.store.leave, self.holder)
        for connections in self._connections.values():
            try:
                await connections.context.learning.share(everything=True)
                await connections.close()
            except Exception as error:  # noqa: BLE001 - the others are closed all the same
                report("close", error, self.telemetry)
