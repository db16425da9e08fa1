from __future__ import annotations

from uuid import UUID

import pytest

from tests.fakes import Events
from worker.core.model.files import ErrorNote
from worker.core.model.fleet import Leftover
from worker.core.model.ids import FileId
from worker.errors import ServiceFault, SourceRejected
from worker.steps import takeaway
from worker.steps.stopping import Stopping
from worker.steps.takeaway import tidy

pytestmark = pytest.mark.anyio


def leftover(number: int) -> Leftover:
    return Leftover(FileId(UUID(int=number)), f"/in/{number}", "delete", 1, "ab")


class Memory:
    """Files whose rule waits, and what was said of them."""

    def __init__(self, *numbers: int) -> None:
        self.waiting = {leftover(number).file: leftover(number) for number in numbers}
        self.notes: dict[FileId, ErrorNote | None] = {}
        self.led_by_another = False

    def lead(self, holder: str, lease: float) -> bool:
        return not self.led_by_another

    def leftovers(self, limit: int, after: FileId | None = None) -> list[Leftover]:
        rest = [each for file, each in self.waiting.items() if after is None or file > after]
        return rest[:limit]

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


async def round_of(memory: Memory, hand: Hand, events: Events | None = None) -> int:
    return await tidy(memory, hand, events or Events(), "me", Stopping())


async def test_every_rule_is_carried_out_or_its_reason_kept() -> None:
    memory, events = Memory(1, 2, 3, 4), Events()
    hand = Hand({2: SourceRejected("changed", code="changed"), 3: ServiceFault("disk full")})
    assert await round_of(memory, hand, events) == 3
    assert hand.took == [1, 4]
    assert {file.int: note for file, note in memory.notes.items()} == {
        1: None,
        2: ErrorNote("changed", "changed"),
        4: None,
    }
    assert [file.int for file in memory.waiting] == [3]
    assert sorted(events.names) == ["take_away_failed"] * 2 + ["taken_away"] * 2


async def test_a_rule_that_had_to_wait_is_carried_out_later() -> None:
    memory, hand = Memory(3), Hand({3: ServiceFault("disk full")})
    assert await round_of(memory, hand) == 0
    hand.errors.clear()
    assert await round_of(memory, hand) == 1
    assert memory.waiting == {}


async def test_only_who_leads_takes_anything_away() -> None:
    memory, hand = Memory(1), Hand({})
    memory.led_by_another = True
    assert await round_of(memory, hand) == 0
    assert hand.took == []


async def test_what_has_to_wait_holds_nothing_up_and_is_said_once(monkeypatch) -> None:
    monkeypatch.setattr(takeaway, "PAGE", 2)
    memory, events = Memory(*range(1, 7)), Events()
    away = {number: ServiceFault("away", code="io_error") for number in (1, 2, 3, 4)}
    assert await round_of(memory, Hand(away), events) == 2
    assert events.names == ["take_away_failed", "taken_away", "taken_away"]


async def test_a_process_that_stops_leaves_the_rest_to_another() -> None:
    memory, hand, stopping = Memory(1, 2, 3), Hand({}), Stopping()
    hand.take_away = lambda _: stopping.set()
    assert await tidy(memory, hand, Events(), "me", stopping) == 1
    assert [file.int for file in memory.waiting] == [2, 3]
