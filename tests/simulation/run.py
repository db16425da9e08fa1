"""Tell the story of one seed: set the world up, let trouble come, calm it down, and look."""

from __future__ import annotations

import asyncio
import gc
import os
import random as chance
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID, uuid5

import anyio.to_thread

from tests.simulation.audit import audit
from tests.simulation.fate import PROFILE, Fate
from tests.simulation.fleet import CREW, Broker, Worker, spawn
from tests.simulation.loop import Endless, Stuck, scopes_in_order
from tests.simulation.service import TroubledService
from tests.simulation.store import CalmDatabase, Shelf
from worker.adapters.database import SqlStore
from worker.core.model.batches import NewBatch
from worker.core.model.ids import BatchId
from worker.steps.register import register

PATIENCE = 4000.0
"""Virtual seconds after the last trouble within which everything has to be over."""

NAMES = ("a.wav", "b.txt", "c.wav", "d.mp3", "e.txt", "f.wav", "g.zip", "h.wav")


@dataclass
class Outcome:
    """What became of a seed."""

    seed: int
    faults: list[str]
    story: list[str]
    seconds: float
    steps: int
    killed: int
    frozen: int
    uploads: int


def simulate(seed: int, shelf: Shelf, store: type[SqlStore] = SqlStore, **dials: float) -> Outcome:
    """Run one seed to its end. The same seed always tells the same story.

    Args:
        dials: how often what happens, where the seed shall not decide that.
    """
    fate = Fate(seed)
    fate.dials = replace(fate.dials, **dials)
    shelf.empty()
    shelf.store = store
    shelf.clock = lambda: fate.loop.now
    service = TroubledService(fate)
    gc.disable()  # what a seed leaves is collected at its end, at once
    with _in_the_hands_of(fate), scopes_in_order():
        try:
            fate.loop.run_until_complete(_tell(fate, shelf, service))
        except Stuck:
            fate.faults.append("everybody waits for ever")
        except Endless:
            fate.faults.append("steps without end")
        finally:
            fate.over = True
            fate.loop.end()
            gc.enable()
    return Outcome(
        seed,
        fate.faults,
        [_line(*entry) for entry in fate.story],
        fate.loop.now,
        fate.loop.steps,
        fate.killed,
        fate.frozen,
        len(service.lives),
    )


@contextmanager
def _in_the_hands_of(fate: Fate):
    """Threads, ids and jitter come from the seed."""
    ids = chance.Random(fate.seed)
    thread, urandom, state = anyio.to_thread.run_sync, os.urandom, chance.getstate()
    anyio.to_thread.run_sync = fate.in_thread
    os.urandom = ids.randbytes
    chance.seed(fate.seed)
    fate.loop.set_exception_handler(_unheard)
    try:
        yield
    finally:
        anyio.to_thread.run_sync, os.urandom = thread, urandom
        chance.setstate(state)


def _unheard(_loop, _context) -> None:
    """A worker's task says itself how it went."""


def _line(moment: float, who: str, what: str, fields: dict[str, object]) -> str:
    told = " ".join(f"{key}={value}" for key, value in fields.items())
    return f"{moment:9.3f} {who:8} {what} {told}".rstrip()


async def _tell(fate: Fate, shelf: Shelf, service: TroubledService) -> None:
    store = SqlStore(CalmDatabase(shelf))
    broker = Broker(fate)
    helpers = [
        spawn(fate.loop.world, _staff(fate, shelf, service, broker)),
        spawn(fate.loop.world, _beat(fate, broker)),
    ]
    batches = await _hand_in(fate, store, broker)
    await asyncio.sleep(fate.dials.trouble)
    fate.calm_down()
    end = fate.loop.now + PATIENCE
    while fate.loop.now < end and (shelf.running() or not broker.idle):
        await asyncio.sleep(5.0)
    if not broker.idle:
        fate.faults.append("a shift has no end")
    await asyncio.sleep(20.0)  # shares that nobody gave up are forgotten
    for helper in helpers:
        helper.cancel()
    fate.faults += audit(fate, shelf, service, batches)


async def _hand_in(fate: Fate, store: SqlStore, broker: Broker) -> list[BatchId]:
    batches = []
    for number in range(fate.random.randint(1, 2)):
        batch = BatchId(uuid5(UUID(int=fate.seed), str(number)))
        names = NAMES[: fate.random.randint(1, 5)]
        new = NewBatch(batch, PROFILE, CREW, notify={"task": "done", "queue": "q"})
        register(store, new, [f"/in/{number}{name}" for name in names])
        broker.wake(PROFILE, CREW, "submit")
        batches.append(batch)
        await asyncio.sleep(fate.random.uniform(0.0, 10.0))
    return batches


async def _staff(fate: Fate, shelf: Shelf, service: TroubledService, broker: Broker) -> None:
    """Keep so many workers: a new one for each that was killed or told to stop."""
    number = 0
    wanted = fate.random.randint(1, 3)
    while True:
        broker.workers = [w for w in broker.workers if w.process.alive and not w.task.done()]
        while len(broker.workers) < wanted:
            number += 1
            broker.workers.append(Worker(f"w{number}", fate, shelf, service, broker))
        if fate.chance(fate.dials.drain):
            fate.drained += 1
            fate.random.choice(broker.workers).drain()
        await asyncio.sleep(fate.random.uniform(0.5, 5.0))


async def _beat(fate: Fate, broker: Broker) -> None:
    """Beat sweeps too, unless it is dead for the whole story."""
    every = fate.random.choice([20.0, 60.0, None])
    while every is not None:
        broker.tick()
        await asyncio.sleep(every)
