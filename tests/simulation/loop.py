"""An event loop on virtual time, shared by processes that a seed may freeze or kill between two steps.

Nothing waits: when no callback is ready the clock jumps to the next timer. Each process keeps the
order of its own callbacks, as asyncio promises; whose turn it is next, chance decides. A killed process
runs nothing ever again, not even a `finally`; a frozen one goes on where it stopped, later.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from inspect import CORO_CREATED, getcoroutinestate
from itertools import count
from random import Random

from anyio._backends._asyncio import CancelScope

EPOCH = 1_800_000_000.0
"""The moment at which every story begins, POSIX seconds."""


class Stuck(Exception):
    """Nothing is ready and no timer runs: everybody waits for ever."""


class Endless(Exception):
    """Steps are made for ever, and nothing comes of it."""


MOST_STEPS = 400_000
STEP = 20e-6
"""Seconds that a step takes: who only waits for the next moment does not wait for ever."""


class Process:
    """What lives and dies together: a worker, or the world around the workers.

    Attributes:
        offset, rate: how its clock differs from the true one.
    """

    def __init__(self, name: str, offset: float = 0.0, rate: float = 1.0) -> None:
        self.name = name
        self.ready: deque[asyncio.Handle] = deque()
        self.alive = True
        self.frozen_until = 0.0
        self._offset = offset
        self._rate = rate

    def local(self, now: float) -> float:
        """What its clock shows at this moment."""
        return self._offset + now * self._rate

    def true(self, local: float) -> float:
        """The moment at which its clock shows this."""
        return (local - self._offset) / self._rate


PROCESS: ContextVar[Process] = ContextVar("process")
"""Whose step this is."""


class NumberedTask(asyncio.Task):
    """A task whose place in a set is the same in every run: by number, not by address."""

    _numbers = count()

    def __init__(self, *args, **more) -> None:
        self._number = next(self._numbers)
        super().__init__(*args, **more)

    def __hash__(self) -> int:
        return self._number


class InOrder(dict):
    """A set that is gone through in the order in which it was filled."""

    def add(self, member: object) -> None:
        self[member] = None

    def remove(self, member: object) -> None:
        del self[member]


@contextmanager
def scopes_in_order() -> Iterator[None]:
    """Let anyio cancel scopes inside a scope in the same order in every run."""
    begin = CancelScope.__init__

    def begin_in_order(scope, *args, **more) -> None:
        begin(scope, *args, **more)
        scope._child_scopes = InOrder()

    CancelScope.__init__ = begin_in_order
    try:
        yield
    finally:
        CancelScope.__init__ = begin


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop; `now` is the true time in seconds since `EPOCH`."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.now = 0.0
        self.steps = 0
        self.world = Process("world")
        self._random = random
        self._processes: dict[Process, None] = {}
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = count()
        self._buried: list[asyncio.Task] = []
        NumberedTask._numbers = count()
        self.set_task_factory(_numbered)

    # --- what asyncio asks of a loop ---

    def time(self) -> float:
        return PROCESS.get(self.world).local(self.now)

    def call_soon(self, callback, *args, context=None):
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    call_soon_threadsafe = call_soon  # there is one thread

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._wait(self._process(timer).true(when), timer)
        return timer

    def _timer_handle_cancelled(self, handle) -> None:
        """A cancelled timer is passed over when its time comes."""

    def _run_once(self) -> None:
        if self.steps > MOST_STEPS:
            self.steps = 0
            raise Endless
        self._ring()
        turn = [p for p in self._processes if p.ready and p.alive and p.frozen_until <= self.now]
        if not turn:
            self._jump()
            return
        process = turn[0] if len(turn) == 1 else self._random.choice(turn)
        for _ in range(len(process.ready)):
            handle = process.ready.popleft()
            if not handle._cancelled:
                self.steps += 1
                self.now += STEP
                handle._run()
            if not process.alive or process.frozen_until > self.now:
                break

    def _enqueue(self, handle: asyncio.Handle) -> None:
        process = self._process(handle)
        self._processes[process] = None
        process.ready.append(handle)

    def _wait(self, moment: float, timer: asyncio.TimerHandle) -> None:
        heapq.heappush(self._timers, (moment, next(self._count), timer))

    def _process(self, handle: asyncio.Handle) -> Process:
        return handle._context.get(PROCESS, self.world)

    def _jump(self) -> None:
        while self._timers and self._timers[0][2]._cancelled:
            heapq.heappop(self._timers)
        if not self._timers:
            raise Stuck
        self.now = max(self.now, self._timers[0][0])
        self._ring()

    def _ring(self) -> None:
        """Whose time has come is ready."""
        while self._timers and self._timers[0][0] <= self.now:
            timer = heapq.heappop(self._timers)[2]
            if not timer._cancelled:
                self._enqueue(timer)

    # --- what befalls a process ---

    def kill(self, process: Process) -> None:
        """No step of it is ever made again."""
        process.alive = False
        # Python would close a coroutine that nobody refers to, and run its `finally`.
        self._buried += asyncio.all_tasks(self)

    def freeze(self, process: Process, seconds: float) -> None:
        """No step of it is made for so many seconds."""
        process.frozen_until = self.now + seconds
        end = process.frozen_until  # the clock has to stop there
        self._wait(end, asyncio.TimerHandle(end, _nothing, (), self, Context()))

    def end(self) -> None:
        """Close all that is left, once nothing of it can have an effect any more."""
        for process in self._processes:
            process.alive, process.frozen_until = True, 0.0
        for _ in range(200):
            left = asyncio.all_tasks(self)
            if not left:
                break
            for task in left:
                if getcoroutinestate(task.get_coro()) != CORO_CREATED:
                    task.cancel()
            self.run_until_complete(_breath())
        self._buried.clear()
        self._timers.clear()
        self._processes.clear()
        self.close()


def _numbered(loop, work, **more) -> NumberedTask:
    return NumberedTask(work, loop=loop, **more)


def _nothing() -> None:
    """A timer that only stops the clock."""


async def _breath() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
