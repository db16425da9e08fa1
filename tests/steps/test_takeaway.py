from __future__ import annotations

from uuid import UUID

import pytest

from worker.core.model import ErrorNote, FileId, Leftover
from worker.errors import ServiceFault, SourceRejected
from worker.steps.takeaway import tidy

pytestmark = pytest.mark.anyio


def leftover(number: int) -> Leftover:
    return Leftover(FileId(UUID(int=number)), f"/in/{number}", "delete", 1, "ab")


class Memory:
    """Files whose rule waits, and what was said of them."""

    def __init__(self, *numbers: int) -> None:
        self.waiting = {leftover(number).file: leftover(number) for number in numbers}
        self.notes: dict[FileId, ErrorNote | None] = {}

    def leftovers(self, limit: int) -> list[Leftover]:
        return list(self.waiting.values())[:limit]

    def taken_away(self, file: FileId, error: ErrorNote | None = None) -> None:
        del self.waiting[file]
        self.notes[file] = error


class Hand:
    def __init__(self, errors: dict[int, Exception]) -> None:
        self.errors = errors
        self.took: list[int] = []

    def take_away(self, leftover: Leftover) -> None:
        number = leftover.file.int
        if number in self.errors:
            raise self.errors[number]
        self.took.append(number)


class Events:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def event(self, name: str, **fields: object) -> None:
        self.seen.append(name)

    def count(self, metric: str, amount: float = 1.0, **labels: str) -> None: ...

    def observe(self, metric: str, seconds: float, **labels: str) -> None: ...


async def test_every_rule_is_carried_out_or_its_reason_kept() -> None:
    memory, events = Memory(1, 2, 3, 4), Events()
    hand = Hand({2: SourceRejected("changed", code="changed"), 3: ServiceFault("disk full")})
    assert await tidy(memory, hand, events) == 3
    assert hand.took == [1, 4]
    assert {file.int: note for file, note in memory.notes.items()} == {
        1: None,
        2: ErrorNote("changed", "changed"),
        4: None,
    }
    assert [file.int for file in memory.waiting] == [3]
    assert sorted(events.seen) == ["take_away_failed"] * 2 + ["taken_away"] * 2


async def test_a_rule_that_had_to_wait_is_carried_out_later() -> None:
    memory, hand = Memory(3), Hand({3: ServiceFault("disk full")})
    assert await tidy(memory, hand, Events()) == 0
    hand.errors.clear()
    assert await tidy(memory, hand, Events()) == 1
    assert memory.waiting == {}
