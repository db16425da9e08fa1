"""No path writes what the table of states forbids, whatever a row says."""

from collections.abc import Iterable, Iterator
from itertools import product

import pytest
from sqlalchemy import select

from tests.contract.bench import CREW, Bench, done
from worker.adapters.database.moves import Moves
from worker.adapters.database.rows import lock_files
from worker.adapters.database.tables import files
from worker.core.lifecycle import (
    RETRIES,
    TRANSITIONS,
    FileState,
    ForbiddenTransition,
    Lane,
)

COLUMNS = "state, lane, next_at, lease_token, finished_at"


def standing(bench: Bench) -> list[tuple[object, ...]]:
    return [tuple(row) for row in bench.rows(f"SELECT {COLUMNS} FROM files ORDER BY turn")]


def in_hand(bench: Bench, lane: Lane = Lane.SUBMIT):
    if lane is Lane.POLL:
        return bench.polling()[1][0]
    bench.batch()
    (file,) = bench.claim().files
    return file


def each(bench: Bench, states: Iterable[FileState]) -> Iterator[FileState]:
    """Somebody makes the only file say these states, one after the other."""
    for state in states:
        bench.execute("UPDATE files SET state = :state", state=state.value)
        yield state


def refused(bench: Bench, call) -> None:
    """The call raises, and neither the row nor its story has changed."""
    before, told = standing(bench), bench.count("file_events")
    with pytest.raises(ForbiddenTransition):
        call()
    assert standing(bench) == before
    assert bench.count("file_events") == told


def test_a_verdict_writes_no_end_that_can_not_follow(bench: Bench):
    file = in_hand(bench)
    for _ in each(bench, [FileState.QUEUED, FileState.SUBMITTING, *RETRIES]):
        refused(bench, lambda: bench.store.record([done(file)]))


def test_a_verdict_that_breaks_the_law_takes_the_whole_transaction_with_it(bench: Bench):
    _, (good, bad) = bench.polling(2)
    bench.execute("UPDATE files SET state = 'queued' WHERE turn = 1")
    refused(bench, lambda: bench.store.record([done(good), done(bad)]))


def test_giving_back_opens_nothing_that_has_ended(bench: Bench):
    file = in_hand(bench)
    for _ in each(bench, RETRIES):
        refused(bench, lambda: bench.store.hand_back([(file.id, file.token)]))


@pytest.mark.parametrize("lane", Lane)
def test_a_claim_takes_nothing_that_has_ended(bench: Bench, lane):
    in_hand(bench, lane)
    bench.expire_leases()
    for _ in each(bench, RETRIES):
        refused(bench, lambda: bench.claim(lane))


def test_poison_ends_nothing_twice(bench: Bench):
    in_hand(bench)
    bench.expire_leases()
    bench.execute("UPDATE files SET deaths = 4")
    for _ in each(bench, RETRIES):
        refused(bench, bench.claim)


def test_what_has_ended_is_neither_cancelled_nor_failed_nor_handed_over(bench: Bench):
    batch = bench.batch()
    for _ in each(bench, RETRIES):
        before = standing(bench)
        assert bench.store.hand_over(batch, CREW) == 0
        bench.store.fail_open(CREW, "service_unavailable", "away")
        assert bench.store.cancel(batch) == 0
        assert standing(bench) == before


def test_retry_opens_what_its_table_says(bench: Bench):
    batch = bench.batch()
    for state in each(bench, FileState):
        opened = bench.store.retry(batch, list(FileState), CREW)
        assert opened == bool(RETRIES.get(state))
        now = FileState(standing(bench)[0][0])
        assert now in RETRIES[state] if opened else now is state


def test_every_pair_is_written_or_refused_as_the_tables_say(bench: Bench):
    bench.batch()
    for old, new in product(FileState, FileState):
        stays = new is old and not old.is_terminal
        _try(bench, _move, old, new, allowed=stays or new in TRANSITIONS.get(old, ()))
        _try(bench, _retry, old, new, allowed=new in RETRIES.get(old, ()))


def _try(bench: Bench, way, old: FileState, new: FileState, *, allowed: bool) -> None:
    bench.execute("UPDATE files SET state = :state", state=old.value)

    def call() -> None:
        bench.store._database.write(lambda tx: way(tx, new))

    if allowed:
        call()
        assert standing(bench)[0][0] == new
    else:
        refused(bench, call)


def _row(tx):
    (row,) = lock_files(tx, tx.run(select(files.c.id)).scalars().all()).values()
    return row


def _move(tx, new) -> None:
    moves = Moves(tx)
    moves.move(_row(tx), new)
    moves.write()


def _retry(tx, new) -> None:
    moves = Moves(tx)
    moves.retry(_row(tx), new, {})
    moves.write()
