"""A shift: claims while there is room, hands back what it could not finish, ends when idle."""

from __future__ import annotations

from collections import deque
from uuid import UUID, uuid4

import anyio
import pytest

from worker.core.lifecycle import FileState
from worker.core.model import BatchId, BatchOptions, Claim, ClaimedFile, FileId, LeaseToken
from worker.errors import StoreUnavailable
from worker.steps.shift import Hand, Pace, Shift
from worker.steps.stopping import Stopping

pytestmark = pytest.mark.anyio

QUICK = Pace(room=4, claim=4, pause=0.0, linger=0.0, slice=10.0, grace=0.0)


class SilentTelemetry:
    def __init__(self):
        self.events = []

    def event(self, name, **fields):
        self.events.append(name)


class Rows:
    """A queue of files; what is claimed leaves it, what is handed back returns."""

    def __init__(self, count, *, away=0):
        self.waiting = deque(range(count))
        self.handed_back = []
        self.claims = []
        self._away = away

    def claim(self, limit):
        if self._away:
            self._away -= 1
            raise StoreUnavailable("restarting")
        token = LeaseToken(uuid4())
        numbers = [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]
        self.claims.append(len(numbers))
        return Claim(tuple(file(number, token) for number in numbers), token)

    def hand_back(self, files):
        self.handed_back.extend(key.int for key, _ in files)

    def renew(self, tokens, lease):
        """Leases outlast these tests."""


def file(number, token):
    return ClaimedFile(
        FileId(UUID(int=number)),
        BatchId(UUID(int=1)),
        token,
        f"/data/{number}",
        str(number),
        FileState.QUEUED,
        BatchOptions(),
    )


class Bench:
    """A shift over rows, whose files are worked by `one`."""

    def __init__(self, rows, one, pace=QUICK):
        self.telemetry = SilentTelemetry()
        self.hand = Hand(self.telemetry)
        self.stop = Stopping()
        self._one = one
        self.shift = Shift(rows, rows.claim, self._work, self.hand, self.stop, pace)

    async def _work(self, claim):
        async with anyio.create_task_group() as tasks:
            for each in claim.files:
                tasks.start_soon(self.hand.work, each, lambda each=each: self._one(each))


async def test_every_file_is_worked_and_the_shift_ends_when_there_is_none():
    rows, done = Rows(11), []

    async def one(each):
        await anyio.lowlevel.checkpoint()
        done.append(each.id.int)

    assert await Bench(rows, one).shift.run() is None
    assert sorted(done) == list(range(11))
    assert rows.handed_back == []


async def test_no_more_is_in_hand_than_there_is_room_for():
    rows, most = Rows(30), 0

    async def one(each):
        nonlocal most
        most = max(most, len(bench.hand))
        await anyio.lowlevel.checkpoint()

    bench = Bench(rows, one)
    await bench.shift.run()
    assert most <= QUICK.room


async def test_a_stop_ends_claiming_and_hands_back_what_is_not_done():
    rows = Rows(30)

    async def one(each):
        bench.stop.set()
        await anyio.sleep_forever()

    bench = Bench(rows, one)
    await bench.shift.run()
    assert rows.claims == [4]
    assert sorted(rows.handed_back) == [0, 1, 2, 3]


async def test_a_file_that_breaks_our_code_breaks_no_other():
    rows, done = Rows(3), []

    async def one(each):
        await anyio.lowlevel.checkpoint()
        if each.id.int == 1:
            raise RuntimeError("a bug")
        done.append(each.id.int)

    bench = Bench(rows, one)
    await bench.shift.run()
    assert sorted(done) == [0, 2]
    assert bench.telemetry.events == ["step_failed"]
    assert rows.handed_back == []


async def test_a_database_that_is_away_ends_no_shift(monkeypatch):
    rows, done = Rows(3, away=2), []

    async def one(each):
        done.append(each.id.int)

    bench = Bench(rows, one)
    monkeypatch.setattr(bench.stop, "sleep", lambda _: anyio.lowlevel.checkpoint())
    await bench.shift.run()
    assert sorted(done) == [0, 1, 2]
