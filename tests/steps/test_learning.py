from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from worker.core.model.files import PolledFile
from worker.core.model.fleet import FileKind, Observation
from worker.core.model.ids import BatchId, FileId, LeaseToken
from worker.core.ready_times import Sketch
from worker.errors import StoreUnavailable
from worker.steps.learning import Learning

pytestmark = pytest.mark.anyio

SIZE = 20_000


class Memory:
    """What the database would remember."""

    def __init__(self) -> None:
        self._sketches: dict[FileKind, Sketch] = {}
        self.told: list[float] = []
        self.away = False

    def learn(self, profile: str, seen: Sequence[Observation]) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.told += [one.seconds for one in seen]
        for one in seen:
            known = self._sketches.get(one.kind, Sketch())
            self._sketches[one.kind] = known.add(one.seconds, one.since)

    def sketches(self, profile: str) -> dict[FileKind, Sketch]:
        return dict(self._sketches)


def claimed(**more: Any) -> PolledFile:
    # An id that is no scout's.
    given = PolledFile(
        FileId(UUID(int=1)),
        BatchId(uuid4()),
        LeaseToken(uuid4()),
        "/in/call.wav",
        "call.wav",
    )
    return replace(given, **more)


async def test_what_polls_have_taught_says_when_to_ask_first() -> None:
    learning = Learning(Memory(), "default", 1.0)
    for _ in range(200):
        learning.ready(claimed(size=SIZE, category="Audio", age=20.0, asked_age=19.0))
    await learning.share(everything=True)

    first = learning.first_wait(claimed(size=None, category=None), "Audio", SIZE)

    assert 15 < first < 25  # not the second that is waited when nothing is known


async def test_what_was_seen_is_told_in_the_order_of_the_uploads() -> None:
    memory = Memory()
    learning = Learning(memory, "default", 1.0)
    for age in (1.0, 5.0, 3.0):  # seen at one moment, so the oldest was uploaded first
        learning.ready(claimed(size=SIZE, category="Audio", age=age))

    await learning.share(everything=True)

    assert memory.told == [5.0, 3.0, 1.0]


async def test_a_quick_file_is_not_told_of_while_slower_ones_of_its_time_may_come() -> None:
    memory = Memory()
    learning = Learning(memory, "default", 1.0)
    learning.ready(claimed(size=SIZE, category="Audio", age=1000.0))
    learning.ready(claimed(size=SIZE, category="Audio", age=3000.0))

    await learning.share()
    assert memory.told == []

    await learning.share(everything=True)
    assert memory.told == [3000.0, 1000.0]


async def test_what_could_not_be_told_is_told_another_time() -> None:
    memory = Memory()
    learning = Learning(memory, "default", 1.0)
    learning.ready(claimed(size=SIZE, category="Audio", age=2.0))
    memory.away = True
    await learning.share(everything=True)
    memory.away = False

    await learning.share(everything=True)

    assert memory.told == [2.0]
