"""Whatever the interleaving: no file in two hands, no stale write, one stamp, no limit passed."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.contract.bench import CREW, PROFILE, Bench, done
from tests.stories import story_faults
from worker.adapters.database import SqlStore
from worker.core.lifecycle import BatchState, FileState, Lane
from worker.core.model.files import Claim, QueuedFile
from worker.core.model.ids import FileId
from worker.core.verdicts import Ended, Requeued, StillPolling, Verdict

THREADS = 4


def race(*moves: Callable[[], Any]) -> list[Any]:
    """Run the moves at the same time; their results, and the first exception if any."""
    gun = Barrier(len(moves))

    def start(move: Callable[[], Any]) -> Any:
        gun.wait(30)
        return move()

    with ThreadPoolExecutor(len(moves)) as pool:
        return [future.result(120) for future in [pool.submit(start, move) for move in moves]]


@pytest.fixture
def benches(open_stores: Callable[[], SqlStore]) -> list[Bench]:
    """Stores of their own on one database, as in several processes."""
    return [Bench(open_stores()) for _ in range(THREADS)]


def test_claimers_never_get_the_same_file(benches: list[Bench]):
    benches[0].batch(400)

    def drain(bench: Bench) -> list[Claim[Any]]:
        claims = []
        while (claim := bench.claim(limit=7)).files or claim.next_wait == 0:
            claims.append(claim)
        return claims

    claims = [claim for part in race(*[lambda b=b: drain(b) for b in benches]) for claim in part]
    hands = Counter(file.id for claim in claims for file in claim.files)
    assert len(hands) == 400
    assert set(hands.values()) == {1}


def test_a_lost_lease_goes_to_one_claimer(benches: list[Bench]):
    benches[0].batch(40)
    benches[0].claim()
    benches[0].expire_leases()
    claims = race(*[lambda b=b: b.claim(limit=40) for b in benches])
    hands = Counter(file.id for claim in claims for file in claim.files)
    assert set(hands.values()) == {1}
    assert {file.deaths for claim in claims for file in claim.files} == {1}


def test_two_who_record_the_same_lease_write_once(benches: list[Bench]):
    batch, files = benches[0].polling(30)
    shuffled = [random.Random(n).sample(files, len(files)) for n in range(THREADS)]
    race(
        *[
            lambda b=b, part=part: b.store.record([done(file) for file in part])
            for b, part in zip(benches, shuffled, strict=True)
        ]
    )
    assert benches[0].store.status(batch).counts == {FileState.SUCCEEDED: 30}
    assert benches[0].count("results") == 30
    assert benches[0].count("file_events", "event = 'succeeded'") == 30


def test_recorder_against_claimer_of_the_lost_lease(benches: list[Bench]):
    batch, files = benches[0].polling(20)
    benches[0].expire_leases()
    written, claim = race(
        lambda: benches[0].store.record([done(file) for file in files]),
        lambda: benches[1].claim(Lane.POLL, 20),
    )
    taken = {file.id for file in claim.files}
    assert not written & taken
    assert written | taken == {file.id for file in files}
    assert benches[0].store.status(batch).counts.get(FileState.SUCCEEDED, 0) == len(written)


def test_a_batch_is_finished_once_and_always(benches: list[Bench]):
    for _ in range(5):
        batch = benches[0].batch(THREADS, notify={"task": "t", "queue": "q"})
        hands = [bench.claim(limit=1).files[0] for bench in benches]

        def end(bench: Bench, file: Any, batch: Any = batch) -> list[Any]:
            bench.store.record([Ended(file.id, file.token, FileState.REJECTED)])
            return bench.store.finish([batch])

        stamped = race(*[lambda b=b, f=f: end(b, f) for b, f in zip(benches, hands, strict=True)])
        assert [batch in part for part in stamped].count(True) == 1
        assert len(benches[0].store.claim_notifications(10, 60)) == 1


def test_cancel_against_everybody(benches: list[Bench]):
    batch = benches[0].batch(60)
    held = benches[0].claim(limit=20).files
    race(
        lambda: benches[0].store.record(
            [Ended(file.id, file.token, FileState.REJECTED) for file in held]
        ),
        lambda: benches[1].store.cancel(batch),
        lambda: benches[2].store.add_files(batch, [f"/late/{n}" for n in range(30)]),
        lambda: benches[3].claim(limit=10),
    )
    status = benches[0].store.status(batch)
    assert status.state is BatchState.CANCELLED
    assert set(status.counts) <= {FileState.CANCELLED, FileState.REJECTED}
    assert benches[0].store.due(1000) == []


def test_one_probe_at_a_time(benches: list[Bench]):
    benches[0].batch(50)
    benches[0].store.freeze(PROFILE, ["upload"], 100, "429")
    benches[0].outlive("service_state", "frozen_until")
    claims = race(*[lambda b=b: b.claim() for b in benches])
    assert sorted(len(claim.files) for claim in claims) == [0, 0, 0, 1]
    assert [claim.probing for claim in claims].count(True) == 1


def test_shares_never_exceed_the_ceiling(benches: list[Bench]):
    ceiling = 7

    def hold(bench: Bench, name: str) -> None:
        chance, share = random.Random(name), 0
        for _ in range(25):
            share = bench.store.share(PROFILE, name, chance.randint(0, share), ceiling, 60)
            total = bench.rows("SELECT COALESCE(SUM(share), 0) AS n FROM slots")[0].n
            assert total <= ceiling

    race(*[lambda b=b, n=n: hold(b, f"holder-{n}") for n, b in enumerate(benches)])


def test_a_bucket_is_never_overdrawn(benches: list[Bench]):
    rate, start = 20.0, benches[0].store.now()

    def draw(bench: Bench) -> int:
        return sum(bench.store.take(PROFILE, "status", rate, 3)[0] for _ in range(30))

    granted = sum(race(*[lambda b=b: draw(b) for b in benches]))
    elapsed = benches[0].store.now() - start
    assert rate <= granted <= rate + rate * elapsed + 1


@pytest.mark.parametrize(
    "move",
    [
        lambda b: b.store.fire("nightly", 1_000_000.0),
        lambda b: b.store.take_wake(CREW, Lane.POLL, 60),
        lambda b: b.store.lead(str(id(b)), 60),
        lambda b: b.store.take_probe(PROFILE, 60),
    ],
    ids=["fire", "take_wake", "lead", "take_probe"],
)
def test_one_of_several_wins(benches: list[Bench], move: Callable[[Bench], bool]):
    benches[0].store.pause(PROFILE, "401")
    benches[0].outlive("pauses", "probe_at")
    assert race(*[lambda b=b: move(b) for b in benches]).count(True) == 1


def test_creating_and_adding_together_adds_once(benches: list[Bench]):
    batch = benches[0].batch(0)
    sources = [f"/in/{n}" for n in range(300)]
    added = race(
        *[
            lambda b=b, n=n: b.store.add_files(batch, random.Random(n).sample(sources, 300))
            for n, b in enumerate(benches)
        ]
    )
    assert sum(added) == 300
    turns = [row.turn for row in benches[0].rows("SELECT turn FROM files ORDER BY turn")]
    assert turns == list(range(300))


def test_notifications_are_in_one_hand(benches: list[Bench]):
    for _ in range(12):
        batch = benches[0].batch(0, notify={"url": "https://example.org"})
        benches[0].store.finish([batch])
    claims = race(*[lambda b=b: b.store.claim_notifications(5, 60) for b in benches])
    ids = [sent.id for claim in claims for sent in claim]
    assert len(ids) == len(set(ids))


# --- everybody at once, at random ----------------------------------------------------------------


class Worker:
    """Does what workers and users do, in an order drawn by lot, and remembers what it was told."""

    def __init__(self, bench: Bench, batch: Any, seed: int) -> None:
        self.bench, self.batch, self.chance = bench, batch, random.Random(seed)
        self.hand: list[Any] = []
        self.succeeded: list[Any] = []

    def work(self, moves: int) -> None:
        choices = (
            (self.submit, 30), (self.poll, 30), (self.record, 40), (self.give_back, 8),
            (self.lose, 4), (self.renew, 8), (self.retry, 3), (self.finish, 5), (self.read, 5),
        )  # fmt: skip
        steps, weights = zip(*choices, strict=True)
        for _ in range(moves):
            self.chance.choices(steps, weights)[0]()

    def submit(self) -> None:
        files = self.bench.claim(Lane.SUBMIT, 5).files
        kept = set(self.bench.begin(files))
        sent = self.bench.mark_sent(sorted(kept))
        self.hand += [file for file in files if self.bench.uploads[file.id] in sent]

    def poll(self) -> None:
        self.hand += self.bench.claim(Lane.POLL, 5).files

    def record(self) -> None:
        verdicts = [self._verdict(file) for file in self._some()]
        written = self.bench.store.record(verdicts)
        self.succeeded += [
            v.file for v in verdicts if v.file in written and v.state is FileState.SUCCEEDED
        ]

    def _verdict(self, file: Any) -> Verdict:
        if isinstance(file, QueuedFile):
            return self.bench.accepted(file, wait=0.0)
        lot = self.chance.random()
        if lot < 0.4:
            return done(file)
        if lot < 0.5:
            return Requeued(file.id, file.token, wait=0.0, status=3, asked=True)
        if lot < 0.6:
            return Ended(file.id, file.token, FileState.TIMED_OUT, status=4, asked=True)
        return StillPolling(file.id, file.token, wait=0.0, status=4)

    def _some(self) -> list[Any]:
        self.chance.shuffle(self.hand)
        taken, self.hand = self.hand[:6], self.hand[6:]
        return list({file.id: file for file in taken}.values())

    def give_back(self) -> None:
        self.bench.store.hand_back([(file.id, file.token) for file in self._some()])

    def lose(self) -> None:
        self.hand.clear()
        self.bench.outlive("files", "next_at", "lease_token IS NOT NULL AND deaths = 0")

    def renew(self) -> None:
        self.bench.store.renew({file.token for file in self.hand}, 60)

    def retry(self) -> None:
        self.bench.store.retry(self.batch, [FileState.TIMED_OUT], CREW)

    def finish(self) -> None:
        self.bench.store.finish([self.batch])

    def read(self) -> None:
        self.bench.store.status(self.batch)
        self.bench.store.due(60)


def _in_order(bench: Bench, batch: Any) -> None:
    """What must hold after any history."""
    for row in bench.rows("SELECT * FROM files"):
        state = FileState(row.state)
        assert (row.lane is None) == state.is_terminal, row
        assert (row.next_at is None) == state.is_terminal
        assert (row.finished_at is not None) == state.is_terminal
        assert (row.lease_token is None) or not state.is_terminal
        assert story_faults(bench.store.story(FileId(row.id)).events, state) == []
        if state is FileState.POLLING:
            assert row.lane == "poll"
            assert row.chatflow_file_id is not None
        assert state is not FileState.SUBMITTING or row.lease_token is not None
    twice = "SELECT file_id FROM results GROUP BY file_id HAVING COUNT(*) > 1"
    assert bench.rows(twice) == []
    status = bench.store.status(batch)
    is_open = any(not state.is_terminal for state in status.counts)
    assert status.state is BatchState.RUNNING or not is_open


def _settle(bench: Bench, batch: Any) -> None:
    """With everybody gone, one worker brings every file to its end."""
    bench.outlive("files", "next_at", "lane IS NOT NULL")
    for _ in range(200):
        bench.submit()
        files = bench.claim(Lane.POLL).files
        bench.store.record([done(file) for file in files])
        if bench.store.finish([batch]) or bench.store.status(batch).finished_at:
            return
    pytest.fail("files stayed open")


@pytest.mark.parametrize("seed", range(3))
def test_any_history_leaves_the_rows_right(benches: list[Bench], seed: int):
    batch = benches[0].batch(60)
    workers = [Worker(bench, batch, seed * 100 + n) for n, bench in enumerate(benches)]
    race(*[lambda w=w: w.work(40) for w in workers])
    _in_order(benches[0], batch)
    ended = Counter(file for worker in workers for file in worker.succeeded)
    assert set(ended.values()) <= {1}, "a file succeeded in two hands"
    states = {line.file_id: line.state for line in benches[0].store.results(batch)}
    assert {states[file] for file in ended} <= {FileState.SUCCEEDED}
    _settle(benches[0], batch)
    _in_order(benches[0], batch)


def test_deadlock_prone_writers_all_succeed(benches: list[Bench]):
    batch = benches[0].batch(200)
    files = list(benches[0].claim(limit=200).files)

    def churn(bench: Bench, part: Iterable[Any], seed: int) -> int:
        mine = list(part)
        random.Random(seed).shuffle(mine)
        bench.store.renew([mine[0].token], 60)
        return len(
            bench.store.record([Ended(file.id, file.token, FileState.REJECTED) for file in mine])
        )

    moves = [lambda b=b, n=n: churn(b, files[n::THREADS], n) for n, b in enumerate(benches)]
    assert sum(race(*moves)) == 200
    assert benches[0].store.status(batch).counts == {FileState.REJECTED: 200}
