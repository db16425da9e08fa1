"""What waits in the installation, counted without looking at what has ended."""

from uuid import uuid4

import pytest

from tests.contract.bench import CREW, PROFILE, Bench
from worker.core.lifecycle import FileState, Lane
from worker.core.model.files import ErrorNote
from worker.core.model.ids import BatchId, fleet, run_crew
from worker.core.verdicts import StillPolling


def test_open_files_are_counted_by_profile_and_state(bench: Bench):
    bench.batch(3)
    bench.batch(2, profile="night", crew=fleet("night"))
    bench.submit(2)
    bench.claim(limit=1)
    assert bench.store.overview().open_files == {
        (PROFILE, FileState.POLLING): 2,
        (PROFILE, FileState.SUBMITTING): 1,
        ("night", FileState.QUEUED): 2,
    }


def test_what_has_ended_is_not_counted(bench: Bench):
    batch = bench.batch(2)
    bench.store.cancel(batch)
    unsealed = bench.batch(1, sealed=False)
    assert bench.store.overview().open_files == {(PROFILE, FileState.QUEUED): 1}
    bench.store.cancel(unsealed)
    assert bench.store.overview().open_files == {}
    assert bench.store.retry(batch, [FileState.CANCELLED], CREW) == 2
    assert bench.store.overview().open_files == {(PROFILE, FileState.QUEUED): 2}


def test_files_of_a_run_are_not_the_fleets(bench: Bench):
    batch = bench.batch(3)
    run = run_crew(batch)
    bench.store.hand_over(batch, run)
    assert bench.store.overview().open_files == {}
    assert bench.store.overview().oldest_due == {}
    (claimed,) = bench.claim(limit=1, crew=run).files
    assert bench.store.overview().open_files == {}
    bench.store.hand_back([(claimed.id, claimed.token)])
    bench.store.hand_over(batch, CREW)
    assert bench.store.overview().open_files == {(PROFILE, FileState.QUEUED): 3}


def test_a_batch_between_a_run_and_the_fleet_counts_for_what_is_the_fleets(bench: Bench):
    run = run_crew(BatchId(uuid4()))
    bench.batch(3, crew=run)
    bench.execute("UPDATE files SET crew = :crew WHERE turn = 0", crew=CREW)
    assert bench.store.overview().open_files == {(PROFILE, FileState.QUEUED): 1}


@pytest.mark.parametrize("lane", Lane)
def test_the_longest_due_file_of_each_lane_tells_its_age(bench: Bench, lane: Lane):
    bench.batch(4)
    if lane is Lane.POLL:
        bench.submit(4)
    states = {Lane.SUBMIT: FileState.QUEUED, Lane.POLL: FileState.POLLING}
    assert bench.store.overview().open_files == {(PROFILE, states[lane]): 4}
    assert set(bench.store.overview().oldest_due) == {(PROFILE, lane)}
    assert 0 <= bench.store.overview().oldest_due[PROFILE, lane] < 60
    bench.outlive("files", "next_at", "turn = 2")
    assert bench.store.overview().oldest_due[PROFILE, lane] > 3600


def test_what_waits_in_a_lane_for_a_later_moment_is_not_due(bench: Bench):
    _, files = bench.polling(2)
    bench.store.record(
        [
            StillPolling(file.id, file.token, wait=600.0, error=ErrorNote("x", "y"), failures=1)
            for file in files
        ]
    )
    assert bench.store.overview().oldest_due == {(PROFILE, Lane.POLL): 0.0}
