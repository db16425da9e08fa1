"""Steps run on virtual time and in one thread: nothing waits, and a test takes milliseconds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

import anyio
import pytest

from tests.simulation.loop import VirtualLoop
from tests.simulation.store import Shelf
from tests.steps.scene import Scene


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": partial(VirtualLoop, random.Random(0))}


async def _in_place(function, *args, **_):
    """Take the place of a thread, which can't be called back once it has begun."""
    await anyio.lowlevel.checkpoint()
    return function(*args)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    random.seed(1)  # jitter is the same each time
    monkeypatch.setattr(anyio.to_thread, "run_sync", _in_place)


@pytest.fixture(scope="session")
def shelf() -> Iterator[Shelf]:
    made = Shelf()
    yield made
    made.close()


@pytest.fixture
def scene(shelf: Shelf) -> Scene:
    shelf.empty()
    return Scene(shelf)
