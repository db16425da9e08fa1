"""The virtual clock and the real ones: what sleeps sleeps long enough, and in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from random import Random

import anyio
import pytest

from tests.simulation.loop import VirtualLoop
from tests.simulation.store import CalmDatabase, Shelf
from tests.steps.scene import virtual_now
from worker.adapters.database import SqlStore, open_store
from worker.steps.loop import clock
from worker.steps.stopping import Stopping

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["virtual", "real"])
def anyio_backend(request: pytest.FixtureRequest):
    options = (
        {"loop_factory": partial(VirtualLoop, Random(0))} if request.param == "virtual" else {}
    )
    return "asyncio", options


@pytest.fixture
def store(anyio_backend, sqlite_url: str) -> Iterator[SqlStore]:
    """The store whose clock goes with the loop's."""
    if anyio_backend[1]:
        shelf = Shelf()
        shelf.clock = virtual_now
        yield SqlStore(CalmDatabase(shelf))
        shelf.close()
    else:
        real = open_store(sqlite_url)
        yield real
        real.close()


async def test_a_sleep_lasts_as_long_as_it_was_asked_to() -> None:
    before = clock()
    await anyio.sleep(0.02)
    assert clock() - before >= 0.02


async def test_the_clock_never_steps_back() -> None:
    seen = []
    for _ in range(50):
        seen.append(clock())
        await anyio.sleep(0)
    assert seen == sorted(seen)


async def test_who_sleeps_shorter_wakes_first() -> None:
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append(seconds)

    async with anyio.create_task_group() as tasks:
        for seconds in (0.06, 0.02, 0.04):
            tasks.start_soon(sleep, seconds)
    assert woken == [0.02, 0.04, 0.06]


async def test_a_deadline_ends_what_takes_too_long_and_nothing_else() -> None:
    with anyio.move_on_after(0.02) as late:
        await anyio.sleep(30.0)
    with anyio.move_on_after(30.0) as early:
        await anyio.sleep(0.02)
    assert (late.cancelled_caught, early.cancelled_caught) == (True, False)


async def test_a_stop_ends_a_sleep() -> None:
    stop = Stopping()
    before = clock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop.sleep, 30.0)
        await anyio.sleep(0.01)
        stop.set()
    assert clock() - before < 30.0


async def test_the_store_s_clock_goes_with_it(store: SqlStore) -> None:
    before = store.now()
    await anyio.sleep(0.05)
    assert store.now() - before >= 0.049  # its moments are of milliseconds
