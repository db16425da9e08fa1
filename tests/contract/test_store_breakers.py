"""Breakers on three databases: shared by all workers, and nobody is held for ever."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from tests.contract.bench import CREW, PROFILE, Bench
from worker.core.audit import AuditedFile, file_faults
from worker.core.breaker import Applicant
from worker.core.lifecycle import FileState
from worker.core.model.files import ErrorNote
from worker.core.seen import Narrow
from worker.core.verdicts import Requeued


def trip(bench: Bench, category="Audio", limit=3):
    turns = [bench.store.heard_of(PROFILE, category, "parse_failed", limit) for _ in range(limit)]
    assert turns == [None] * (limit - 1) + ["opened"]


def ask(bench: Bench, files, category="Audio"):
    asked = [Applicant(file.id, file.token, category) for file in files]
    return bench.store.held_back(PROFILE, asked)


def canary_is_due(bench: Bench):
    bench.outlive("breakers", "canary_at")


def balanced(bench: Bench):
    files = [each for each in bench.store.audited() if isinstance(each, AuditedFile)]
    return [fault for each in files for fault in file_faults(each)] == []


def test_what_an_open_breaker_holds_waits_queued_and_says_why(bench: Bench):
    batch = bench.batch(2)
    trip(bench)
    files = bench.claim().files
    assert ask(bench, files) == {file.id for file in files}
    line = bench.store.story(files[0].id).result
    assert (line.state, line.error_code) == (FileState.QUEUED, "breaker_open")
    assert "Audio" in line.error_message
    assert bench.claim().files == ()
    assert bench.wake_released() == 0
    (found,) = bench.store.details(batch).breakers
    assert (found.category, found.code, found.failures) == ("Audio", "parse_failed", 3)
    assert 50 < found.canary_in <= 60
    assert bench.store.overview().breakers == {(PROFILE, "Audio"): 3}
    assert balanced(bench)


def test_other_categories_and_profiles_go_on(bench: Bench):
    bench.batch(2)
    trip(bench)
    files = bench.claim().files
    assert ask(bench, files, "Text") == frozenset()
    other = [Applicant(file.id, file.token, "Audio") for file in files]
    assert bench.store.held_back("other", other) == frozenset()


def test_one_canary_an_interval_goes_ahead_and_a_good_one_frees_the_others(bench: Bench):
    bench.batch(3)
    trip(bench)
    ask(bench, bench.claim().files)
    canary_is_due(bench)
    assert bench.wake_released() == 1
    (canary,) = bench.claim().files
    assert canary.source == "/in/00000.wav"
    assert ask(bench, [canary]) == frozenset()
    assert ask(bench, [canary]) == frozenset()
    assert bench.wake_released() == 0
    assert bench.store.heard_of(PROFILE, "Audio", "parse_failed", 3) is None
    assert bench.wake_released() == 0
    assert bench.store.heard_of(PROFILE, "Audio", None, 3) == "closed"
    assert bench.wake_released() == 2
    assert ask(bench, bench.claim().files) == frozenset()
    assert balanced(bench)


def test_a_retry_closes_it_for_its_category_or_for_all(bench: Bench):
    batch = bench.batch(1)
    trip(bench)
    trip(bench, "Text")
    ask(bench, bench.claim().files)
    bench.store.retry(batch, [FileState.FAILED], CREW, Narrow(category="Text"))
    assert set(bench.store.overview().breakers) == {(PROFILE, "Audio")}
    bench.store.retry(batch, [FileState.FAILED], CREW)
    assert bench.store.overview().breakers == {}
    assert bench.wake_released() == 1


def test_a_file_that_waited_long_enough_to_look_itself_waits_for_nobody_any_more(bench: Bench):
    bench.batch(1)
    trip(bench)
    ask(bench, bench.claim().files)
    bench.outlive("files", "next_at")
    (file,) = bench.claim().files
    error = ErrorNote("upload_refused", "not now")
    bench.store.record([Requeued(file.id, file.token, 100.0, error)])
    bench.store.heard_of(PROFILE, "Audio", None, 3)
    assert bench.wake_released() == 0, "its backoff is not over"
    assert bench.claim().files == ()


def test_a_held_file_can_be_cancelled(bench: Bench):
    batch = bench.batch(1)
    trip(bench)
    ask(bench, bench.claim().files)
    assert bench.store.cancel(batch) == 1
    canary_is_due(bench)
    assert bench.wake_released() == 0


def test_a_file_that_is_somebody_elses_by_now_is_left_alone(bench: Bench):
    bench.batch(1)
    trip(bench)
    (lost,) = bench.claim().files
    bench.expire_leases()
    (new,) = bench.claim().files
    ask(bench, [lost])
    assert bench.store.story(new.id).result.state is FileState.SUBMITTING


def test_failures_of_all_workers_count_together(bench: Bench, open_stores):
    stores = [open_stores() for _ in range(4)]
    start = Barrier(4)

    def fail(store):
        start.wait(30)
        return [store.heard_of(PROFILE, "Audio", "parse_failed", 20) for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        turns = [turn for some in pool.map(fail, stores) for turn in some]
    assert turns.count("opened") == 1
    assert bench.store.overview().breakers == {(PROFILE, "Audio"): 20}
