"""A shift: claims while there is room, hands back what it could not finish, ends when idle."""

from __future__ import annotations

from collections import deque
from uuid import UUID, uuid4

import anyio
import pytest

from tests.fakes import Events
from worker.core.model.files import Claim, QueuedFile
from worker.core.model.ids import BatchId, FileId, LeaseToken
from worker.errors import StoreUnavailable
from worker.steps.shift import FilesInHand, Shift
from worker.steps.shift_limits import ShiftLimits
from worker.steps.stopping import Stopping

pytestmark = pytest.mark.anyio

QUICK = ShiftLimits(room=4, claim=4, pause=0.0, linger=0.0, slice=10.0, grace=0.0)


class Rows:
    """A queue of files; what is claimed leaves it, what is handed back returns."""

    def __init__(self, count, *, away=0):
        self.waiting = deque(range(count))
        self.handed_back = []
        self.refusals = 0
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

    def hand_back(self, files, reason=None):
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("a conflict")
        self.handed_back.extend(key.int for key, _ in files)

    def renew(self, tokens, lease):
        """Leases outlast these tests."""


def file(number, token):
    return QueuedFile(
        FileId(UUID(int=number)),
        BatchId(UUID(int=1)),
        token,
        f"/data/{number}",
        str(number),
    )


class Bench:
    """A shift over rows, whose files are worked by `one`."""

    def __init__(self, rows, one, pace=QUICK):
        self.telemetry = Events()
        self.hand = FilesInHand(self.telemetry)
        self.stop = Stopping()
        self._one = one
        self.shift = Shift(rows, rows.claim, self._work, self.hand, self.stop, pace)

    async def _work(self, claim):
        async with anyio.create_task_group() as tasks:
            for each in claim.files:
                tasks.start_soon(self.hand.work, each, lambda each=each: self._one(each))


async def test_a_file_that_is_claimed_again_before_it_was_dropped_stays_in_hand():
    """What is due at once may be claimed before the answer to its record is here."""
    hand, earlier, later = FilesInHand(Events()), LeaseToken(uuid4()), LeaseToken(uuid4())
    hand.take(Claim((file(1, earlier),), earlier))
    hand.take(Claim((file(1, later),), later))
    hand.drop(file(1, earlier))
    assert (hand.items(), hand.tokens()) == ([(file(1, later).id, later)], {later})
    hand.drop(file(1, later))
    assert len(hand) == 0


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


async def test_a_stop_hands_back_even_if_the_store_refuses_for_a_moment():
    rows = Rows(2)
    rows.refusals = 1

    async def one(each):
        bench.stop.set()
        await anyio.sleep_forever()

    bench = Bench(rows, one)
    await bench.shift.run()
    assert sorted(rows.handed_back) == [0, 1]


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
    assert bench.telemetry.names == ["step_failed"]
    assert rows.handed_back == []


async def test_a_database_that_is_away_ends_no_shift(monkeypatch):
    rows, done = Rows(3, away=2), []

    async def one(each):
        done.append(each.id.int)

    bench = Bench(rows, one)
    monkeypatch.setattr(bench.stop, "sleep", lambda _: anyio.lowlevel.checkpoint())
    await bench.shift.run()
    assert sorted(done) == [0, 1, 2]


async def test_an_unknown_error_of_a_claim_or_its_work_takes_no_other_file_down(monkeypatch):
    rows, done = Rows(6), []
    faults = [RuntimeError("a bug in the claim")]

    async def one(each):
        done.append(each.id.int)

    bench = Bench(
        rows, one, ShiftLimits(room=8, claim=2, pause=0.0, linger=0.0, slice=10.0, grace=0.0)
    )
    claim, work = bench.shift._claim, bench.shift._work

    def claim_badly(limit):
        if faults:
            raise faults.pop()
        return claim(limit)

    async def work_badly(claimed):
        if claimed.files[0].id.int == 2:
            raise RuntimeError("a bug in its work")
        await work(claimed)

    bench.shift._claim, bench.shift._work = claim_badly, work_badly
    monkeypatch.setattr(bench.stop, "sleep", lambda _: anyio.lowlevel.checkpoint())
    await bench.shift.run()
    assert sorted(done) == [0, 1, 4, 5]
    assert bench.telemetry.names == ["step_failed", "step_failed"]
