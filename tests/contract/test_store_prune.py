"""What is over and old is removed, and nothing else, also beside workers."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.bench import CREW, PROFILE, Bench, done
from worker.cli.audit import examined
from worker.core.lifecycle import FileState
from worker.core.model.batches import BatchOptions, NewBatch

TABLES = ("batches", "files", "results", "file_events", "uploads", "dialogs", "outbox")


def over(bench: Bench, files: int = 2, **more):
    batch, claimed = bench.polling(files, **more)
    bench.store.record([done(file) for file in claimed])
    assert bench.store.finish([batch]) == [batch]
    bench.outlive("batches", "finished_at", f"id = '{batch}'")
    return batch


def test_a_batch_goes_with_all_that_is_its(bench: Bench):
    batch = over(bench, 3)
    assert [(p.batch_id, p.files) for p in bench.store.prunable(60.0)] == [(batch, 3)]
    assert bench.store.prune(batch, 60.0) == 3
    assert {table: bench.count(table) for table in TABLES} == dict.fromkeys(TABLES, 0)
    assert bench.store.prune(batch, 60.0) == 0


def test_what_is_handed_in_again_after_it_was_pruned_has_its_new_options(bench: Bench):
    """The same external key is the same id, and a worker may still know the former batch."""
    batch = over(bench, 1, options=BatchOptions("Audio"))
    bench.store.prune(batch, 60.0)
    bench.store.create_batch(NewBatch(batch, PROFILE, CREW, options=BatchOptions("Pictures")))
    bench.store.add_files(batch, ["/in/00000.wav"])
    (file,) = bench.claim().files
    assert file.options == BatchOptions("Pictures")


def test_contents_may_go_alone(bench: Bench):
    batch = over(bench, 3)
    assert bench.store.prune(batch, 60.0, contents_only=True) == 3
    assert [r.parse_content for r in bench.store.results(batch)] == [None] * 3
    assert {r.state for r in bench.store.results(batch)} == {FileState.SUCCEEDED}
    assert bench.store.prunable(60.0, contents_only=True) == []
    assert len(bench.store.prunable(60.0)) == 1
    assert examined(bench.store.audited()).balanced


def test_what_runs_or_is_young_stays(bench: Bench):
    running, _ = bench.polling(1)
    young = over(bench)
    bench.execute("UPDATE batches SET finished_at = sealed_at WHERE state = 'finished'")
    for batch in (running, young):
        assert bench.store.prune(batch, 60.0) == 0
    assert bench.store.prunable(60.0) == []
    assert bench.count("files") == 3
    assert [p.batch_id for p in bench.store.prunable(0.0)] == [young]


def test_a_batch_stays_until_everybody_was_told_and_its_files_were_taken_away(bench: Bench):
    told = over(bench, notify={"task": "done"})
    tidied = over(bench, after="delete")
    assert bench.store.prunable(60.0) == []
    assert bench.store.prune(told, 60.0) == bench.store.prune(tidied, 60.0) == 0
    (notification,) = bench.store.claim_notifications(1, 60)
    bench.store.notified(notification.id)
    for leftover in bench.store.leftovers(10):
        bench.store.taken_away(leftover.file)
    assert {p.batch_id for p in bench.store.prunable(60.0)} == {told, tidied}
    assert bench.store.prune(told, 60.0) == bench.store.prune(tidied, 60.0) == 2


def test_an_interrupted_prune_leaves_a_balanced_rest(bench: Bench, monkeypatch):
    monkeypatch.setattr("worker.adapters.database.prune.AT_ONCE", 2)
    batch = over(bench, 5)
    assert bench.store._prune_some(batch, 60.0, 0, False) == (2, 2)
    assert examined(bench.store.audited()).balanced
    assert bench.store.prune(batch, 60.0) == 3
    assert bench.count("batches") == 0


def test_a_batch_that_runs_again_is_left_alone(bench: Bench, monkeypatch):
    monkeypatch.setattr("worker.adapters.database.prune.AT_ONCE", 1)
    batch = bench.batch(3)
    bench.store.cancel(batch)
    bench.outlive("batches", "finished_at")
    bench.store._prune_some(batch, 60.0, 0, False)
    assert bench.store.retry(batch, [FileState.CANCELLED], CREW) == 2
    assert bench.store.prune(batch, 60.0) == 0
    assert bench.store.status(batch).counts == {FileState.QUEUED: 2}


def test_a_late_reply_for_a_pruned_file_changes_nothing(bench: Bench):
    batch, (file,) = bench.polling(1)
    bench.store.cancel(batch)
    bench.outlive("batches", "finished_at")
    assert bench.store.prune(batch, 60.0) == 1
    assert bench.store.record([done(file)]) == set()
    assert bench.count("results") == 0


@pytest.mark.parametrize("contents_only", [False, True])
def test_pruning_and_working_at_once(open_stores, monkeypatch, contents_only):
    monkeypatch.setattr("worker.adapters.database.prune.AT_ONCE", 3)
    bench, pruner = Bench(open_stores()), open_stores()
    old = [over(bench, 8) for _ in range(3)]

    def work():
        for _ in range(4):
            _, claimed = bench.polling(4)
            bench.store.record([done(file) for file in claimed])

    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(work)
        pruning = pool.submit(
            lambda: [pruner.prune(b, 60.0, contents_only=contents_only) for b in old]
        )
        working.result()
        assert pruning.result() == [8, 8, 8]
    found = examined(bench.store.audited())
    assert (found.balanced, found.files["succeeded"]) == (True, 40 if contents_only else 16)
