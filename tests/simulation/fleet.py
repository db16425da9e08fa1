"""The workers, the broker between them, and Beat: `worker.runtime` without threads and Celery."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from functools import partial
from typing import Any

import anyio

from tests.fakes import Events, FakeSources
from tests.simulation.fate import PROFILE, Fate
from tests.simulation.loop import PROCESS, Process
from tests.simulation.service import TroubledService
from tests.simulation.store import Shelf, store_of
from worker.core.lifecycle import Lane
from worker.core.model.fleet import Due
from worker.core.model.ids import fleet
from worker.errors import StoreUnavailable
from worker.steps import sweep
from worker.steps.context import ProfileContext
from worker.steps.lasting import keep_doing
from worker.steps.notify import deliver
from worker.steps.poll import PollShift
from worker.steps.recorder import Recorder
from worker.steps.shift_limits import poll_limits, submit_limits
from worker.steps.stopping import Stopping
from worker.steps.submit import SubmitShift

GRACE = 10.0
END_WITHIN = GRACE + 4.0
"""Seconds after which a worker that was told to stop ends itself, whatever holds it up."""

CREW = fleet(PROFILE)


def spawn(process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Begin a task as a part of this process."""
    context = copy_context()
    context.run(PROCESS.set, process)
    return asyncio.get_running_loop().create_task(work, context=context)


async def in_thread(function: Any) -> Any:
    """As the runtime does, which the simulation takes the threads from."""
    return await anyio.to_thread.run_sync(function)


class Log(Events):
    """Telemetry that becomes part of the story."""

    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    def event(self, name: str, **fields: object) -> None:
        self._fate.tell(name, **fields)
        if name == "step_failed" and not self._fate.over:
            self._fate.faults.append(f"a step failed: {fields}")


class Worker:
    """One worker process."""

    def __init__(
        self, name: str, fate: Fate, shelf: Shelf, service: TroubledService, broker
    ) -> None:
        random = fate.random
        offset, rate = random.uniform(0, 1e6), random.choice([1.0, 1.0, random.uniform(0.95, 1.05)])
        self.process = Process(name, offset, rate)
        self.log = Log(fate)
        self.store = store_of(shelf, fate)
        self.draining = False
        self._fate = fate
        self._remote = service
        self._broker = broker
        self._at_work: set[Lane] = set()
        self.task = spawn(self.process, self._live())

    @property
    def fit(self) -> bool:
        """Whether messages still reach it."""
        return self.process.alive and not self.draining and not self.task.done()

    def receive(self, message: tuple[str, ...]) -> None:
        """A message of the broker's."""
        spawn(self.process, self._attend(message))

    @property
    def idle(self) -> bool:
        """Whether it has nothing in hand."""
        return not (self.process.alive and self._at_work)

    def drain(self) -> None:
        """As SIGTERM does."""
        self.draining = True
        spawn(self.process, self._set_stop())
        spawn(self.process, self._end_at_last())

    # --- its life ---

    async def _live(self) -> None:
        try:
            await self._work_on()
        except Exception as error:  # noqa: BLE001 - told to who reads the story
            if not self._fate.over:
                self._fate.faults.append(f"{self.process.name} broke: {error!r}")

    async def _work_on(self) -> None:
        self._stop = Stopping()
        self._recorder = Recorder(self.store)
        self._service = ProfileContext(
            rules=self._fate.rules,
            holder=self.process.name,
            store=self.store,
            recorder=self._recorder,
            telemetry=self.log,
            dialogs=self._remote,
            uploads=self._remote,
            statuses=self._remote,
            sources=FakeSources(),
        )
        self._fate.tell("begins")
        tick = self._fate.dials.sweep_every
        async with anyio.create_task_group() as tasks:
            keep = partial(self._keep, tasks)
            keep("record", self._recorder.run, 0.1, stop=None)
            keep("learn", self._service.learning.share, self._fate.random.uniform(30.0, 120.0))
            keep("sweep", partial(in_thread, self._sweep), tick)
            keep("probe", self._probe, tick)
            while not self._stop or self._at_work:
                await self._stop.sleep(60.0)
                await asyncio.sleep(0.1)
            await self._recorder.flush()
            tasks.cancel_scope.cancel()
        self._fate.tell("ends")

    def _keep(self, tasks, what: str, work, every: float, *, stop: bool | None = True) -> None:
        stopping = self._stop if stop else None
        doing = partial(keep_doing, what, work, every=every, telemetry=self.log, stop=stopping)
        tasks.start_soon(doing)

    async def _set_stop(self) -> None:
        self._fate.tell("is told to stop")
        self._stop.set()

    async def _end_at_last(self) -> None:
        await asyncio.sleep(END_WITHIN)
        if not self.task.done():
            self._fate.tell("is stuck")
            if not self._fate.excuses_delay:
                self._fate.faults.append(f"{self.process.name} was told to stop, and is stuck")
            self._fate.kill(self.process, "at last")

    async def _probe(self) -> None:
        for profile in await in_thread(self.store.paused):
            await sweep.probe(self.store, self._remote, profile, self.log)

    def _sweep(self) -> None:
        every = sweep.Sweep(
            self.store, self._broker, self.log, 2.0, True, lambda _: True, self._is_busy
        )
        every.once()

    def _is_busy(self, due: Due) -> bool:
        return due.lane in self._at_work

    # --- messages ---

    async def _attend(self, message: tuple[str, ...]) -> None:
        if not hasattr(self, "_service"):
            return
        try:
            match message:
                case ("tick",):
                    await in_thread(self._sweep)
                case ("notify",):
                    await deliver(self.store, self._remote, self._broker.deliver, self.log)
                case (lane,):
                    await self._shift(Lane(lane))
        except StoreUnavailable as error:
            self._fate.tell("task failed", message=message, reason=error.message)
        except Exception as error:  # noqa: BLE001 - told to who reads the story
            if not self._fate.over:
                self._fate.faults.append(f"task {message} broke: {error!r}")

    async def _shift(self, lane: Lane) -> None:
        if lane in self._at_work:
            return
        self._at_work.add(lane)
        try:
            wait = await self._work(lane)
        finally:
            self._at_work.discard(lane)
        if wait is not None and wait <= sweep.LOOK_AHEAD and not self._stop:
            self._broker.wake(PROFILE, CREW, lane)

    async def _work(self, lane: Lane) -> float | None:
        rules = self._fate.rules
        self._fate.tell("shift", lane=lane)
        if lane is Lane.SUBMIT:
            return await SubmitShift(
                self._service, CREW, self._stop, submit_limits(rules, GRACE)
            ).run()
        return await PollShift(self._service, CREW, self._stop, poll_limits(rules, GRACE)).run()


class Broker:
    """Carries wake-ups, loses some, repeats some, and delivers notifications (a waker)."""

    def __init__(self, fate: Fate) -> None:
        self._fate = fate
        self.workers: list[Worker] = []
        self.delivered: list[dict[str, Any]] = []

    @property
    def idle(self) -> bool:
        """Whether nobody has anything in hand."""
        return all(worker.idle for worker in self.workers)

    def wake(self, profile: str, crew: str, lane: str) -> None:
        self._send((str(lane),))

    def wake_notify(self) -> None:
        self._send(("notify",))

    def tick(self) -> None:
        self._send(("tick",))

    def deliver(self, task: str, queue: str | None, payload: dict[str, Any]) -> None:
        """The task of a notification."""
        self.delivered.append(payload)

    def _send(self, message: tuple[str, ...]) -> None:
        fate = self._fate
        if fate.over or fate.chance(fate.dials.wake_lost):
            return
        for _ in range(2 if fate.chance(fate.dials.wake_twice) else 1):
            spawn(fate.loop.world, self._carry(message))

    async def _carry(self, message: tuple[str, ...]) -> None:
        await asyncio.sleep(self._fate.random.expovariate(20.0))
        fit = [worker for worker in self.workers if worker.fit]
        if fit and not self._fate.over:
            self._fate.random.choice(fit).receive(message)
