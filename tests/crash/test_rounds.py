"""Rounds of work with something going wrong at moments that chance picks; `CRASH_ROUNDS` each.

The service is unruly too: some replies are slow, some get lost, some uploads fail later.
"""

import time

import pytest

from tests.crash.conftest import LEASE, ROUNDS
from tests.distributed.fleet import QUICK, wait_for

UNRULY = QUICK | {
    "time_to_ready": {"kind": "lognormal", "median": 1, "p95": 3},
    "rules": [
        {"file_name": "*7.wav", "uploads": [1], "path": [1, 3]},
        {"file_name": "*13.wav", "path": [1, 4, 6], "error_msg": "no audio track"},
        {
            "file_name": "*",
            "uploads": [1],
            "parse_content": {"shape": "text", "text": "first words of {file_name}"},
        },
    ],
    "faults": [
        {"on": "upload", "do": "slow", "seconds": 0.3},
        {"on": "upload", "do": "reset", "taken": True, "probability": 0.02},
        {"on": "upload", "do": "code", "code": "400500", "message": "no", "probability": 0.02},
        {"on": "status", "do": "http", "status": 500, "probability": 0.05},
        {"on": "handshake", "do": "slow", "seconds": 0.2},
    ],
}
FILES = 80

pytestmark = pytest.mark.parametrize("turn", range(ROUNDS))


@pytest.fixture
def unruly(fleet, dice):
    fleet.simulator.set_scenario(UNRULY | {"seed": dice.randrange(10**6)})
    fleet.environment["INGEST_MAX_UPLOAD_ATTEMPTS"] = "9"
    return fleet


def pause(dice, longest):
    time.sleep(dice.uniform(0.2, longest))


def done(fleet, batch):
    counts = fleet.counts(batch)
    return sum(n for state, n in counts.items() if state.is_terminal)


def outcome(fleet, batch):
    """Everything but files that the service failed has to succeed."""
    failed = {n for n, line in fleet.results(batch).items() if line["state"] != "succeeded"}
    return {name for name in failed if not name.endswith("13.wav")}


def test_workers_are_killed_again_and_again(unruly, dice, turn):
    paths = unruly.put("f-{}.wav", FILES)
    workers = [unruly.worker(), unruly.worker()]
    batch = unruly.hand_in(paths)
    for _ in range(5):
        pause(dice, 1.5)
        victim = workers.pop(dice.randrange(2))
        unruly.kill(victim)
        pause(dice, 1)
        workers.append(unruly.worker(ready=False))
    unruly.await_finish(batch)
    found = unruly.check(batch, paths)
    if not found.poisoned:
        assert outcome(unruly, batch) == set()


def test_the_broker_is_killed_and_comes_back_empty(unruly, pair, dice, turn):
    paths = unruly.put("f-{}.wav", FILES)
    for _ in range(2):
        unruly.worker()
    unruly.launch("beat", "beat")
    batch = unruly.hand_in_durably(paths)
    for _ in range(2):
        pause(dice, 3)
        pair.broker.kill()
        pause(dice, 2)
        pair.broker.start()
    before = done(unruly, batch)
    if before < FILES:
        wait_for(lambda: done(unruly, batch) > before, "work to go on", 60)
    unruly.await_finish(batch)
    unruly.check(batch, paths)
    assert outcome(unruly, batch) == set()


def test_the_broker_is_flushed(unruly, pair, dice, turn):
    paths = unruly.put("f-{}.wav", FILES)
    for _ in range(2):
        unruly.worker()
    batch = unruly.hand_in_durably(paths)
    for _ in range(4):
        pause(dice, 1.5)
        pair.flush()
    unruly.await_finish(batch)
    unruly.check(batch, paths)
    assert outcome(unruly, batch) == set()


def test_the_database_is_killed_and_comes_back(unruly, pair, dice, turn):
    paths = unruly.put("f-{}.wav", FILES)
    for _ in range(2):
        unruly.worker()
    batch = unruly.hand_in_durably(paths)
    wait_for(lambda: unruly.simulator.summary()["uploads_taken"] >= 10, "work")
    for _ in range(2):
        pause(dice, 2)
        pair.database.kill()
        pause(dice, 3)
        pair.database.start()
    unruly.await_finish(batch)
    unruly.check(batch, paths)
    assert outcome(unruly, batch) == set()


def test_a_batch_sent_while_the_database_is_away_is_not_lost(unruly, pair, turn):
    paths = unruly.put("f-{}.wav", 30)
    worker = unruly.worker()
    pair.database.kill()
    batch = unruly.hand_in(paths)
    worker.await_word("store_unavailable")
    pair.database.start()
    unruly.await_finish(batch)
    unruly.check(batch, paths)
    assert outcome(unruly, batch) == set()


def test_the_database_freezes_for_a_while(unruly, pair, dice, turn):
    paths = unruly.put("f-{}.wav", FILES)
    for _ in range(2):
        unruly.worker()
    batch = unruly.hand_in_durably(paths)
    wait_for(lambda: unruly.simulator.summary()["uploads_taken"] >= 20, "work")
    pause(dice, 2)
    with pair.database.frozen():
        time.sleep(10)
    unruly.await_finish(batch)
    unruly.check(batch, paths)
    assert outcome(unruly, batch) == set()


def test_a_worker_freezes_beyond_its_lease_and_wakes_up_again(unruly, dice, turn):
    """What it had in hand belongs to others by then, and it must not write over their work."""
    paths = unruly.put("f-{}.wav", FILES)
    sleeper = unruly.worker()
    batch = unruly.hand_in(paths)
    wait_for(lambda: unruly.simulator.summary()["uploads_taken"] >= 10, "work")
    unruly.worker()
    for _ in range(2):
        pause(dice, 1)
        sleeper.freeze()
        time.sleep(2 * LEASE)
        sleeper.thaw()
    unruly.await_finish(batch)
    unruly.check(batch, paths)
    assert outcome(unruly, batch) == set()


def test_beats_are_killed_and_clocks_jump_and_nothing_depends_on_them(unruly, dice, turn):
    paths = unruly.put("f-{}.wav", FILES)
    unruly.worker(clock=7200.0)
    unruly.worker()
    beats = [unruly.launch(f"beat{n}", "beat") for n in range(2)]
    batch = unruly.hand_in_durably(paths)
    for beat in beats:
        pause(dice, 2)
        unruly.kill(beat)
    unruly.await_finish(batch)
    unruly.check(batch, paths)
    assert outcome(unruly, batch) == set()
