"""The same bytes once, on three databases: results taken over, files that wait, racing workers."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.contract.bench import CREW, PROFILE, Bench, done
from tests.stories import story_faults
from worker.core.audit import AuditedFile, file_faults
from worker.core.leases import ALONE_AFTER
from worker.core.lifecycle import FileState, Lane
from worker.core.model.ids import Crew
from worker.core.reuse import Wanted
from worker.core.verdicts import Ended, Traits

DAY = 86400.0
KEY = "k" * 64


def wanted(file, key=KEY):
    return Wanted(file.id, file.token, key, "Audio", 7, "5" * 64)


def ask(bench: Bench, *files, key=KEY, within=DAY):
    return bench.store.reuse(PROFILE, [wanted(file, key) for file in files], within)


def sent_with_key(bench: Bench, file, key=KEY):
    """The file is uploaded and polling."""
    bench.send([file])
    accepted = bench.accepted(file)
    sent = Traits("Audio", 7, "5" * 64, key)
    verdict = type(accepted)(
        accepted.file, accepted.token, accepted.upload_id, accepted.chatflow_file_id,
        sent, 0.0, 3600.0, 1,
    )  # fmt: skip
    assert bench.store.record([verdict]) == {file.id}


def ended(bench: Bench, verdict=done):
    for file in bench.claim(Lane.POLL).files:
        bench.store.record([verdict(file)])


def one(bench: Bench, **more):
    bench.batch(1, **more)
    (file,) = bench.claim(**{k: v for k, v in more.items() if k == "crew"}).files
    return file


def line_of(bench: Bench, file):
    return bench.store.story(file.id).result


def balanced(bench: Bench):
    files = [each for each in bench.store.audited() if isinstance(each, AuditedFile)]
    faults = [fault for each in files for fault in file_faults(each)]
    for each in files:
        faults += story_faults(each.events, each.state)
    return faults == []


def test_a_result_is_taken_over_with_all_that_belongs_to_it(bench: Bench):
    first = one(bench)
    assert ask(bench, first).upload == {first.id}
    sent_with_key(bench, first)
    ended(bench)
    second = one(bench)
    assert ask(bench, second).reused == {second.id}
    line = line_of(bench, second)
    assert (line.state, line.reused_from) == (FileState.SUCCEEDED, first.id)
    assert (line.parse_content, line.status, line.category) == ("text", 7, "Audio")
    assert (line.size, line.sha256, line.upload_attempts) == (7, "5" * 64, 0)
    assert (line.chatflow_file_id, line.error_code) == (None, None)
    events = bench.store.story(second.id).events
    assert [event.event for event in events] == ["queued", "submitting", "reused"]
    assert str(first.id) in events[-1].message
    assert bench.store.finish([second.batch_id]) == [second.batch_id]
    assert balanced(bench)


def test_what_was_taken_over_does_not_make_a_result_younger(bench: Bench):
    first = one(bench)
    sent_with_key(bench, first)
    ended(bench)
    ask(bench, one(bench))
    bench.outlive("files", "finished_at", "reused_from IS NULL")
    third = one(bench)
    assert ask(bench, third).upload == {third.id}


def test_a_taken_over_result_outlives_the_one_that_it_came_from(bench: Bench):
    first = one(bench)
    sent_with_key(bench, first)
    ended(bench)
    second = one(bench)
    ask(bench, second)
    bench.store.finish([first.batch_id])
    bench.store.prune(first.batch_id, 0)
    assert line_of(bench, second).parse_content == "text"
    third = one(bench)
    assert ask(bench, third).upload == {third.id}


def test_pruned_contents_are_no_result(bench: Bench):
    first = one(bench)
    sent_with_key(bench, first)
    ended(bench)
    bench.store.finish([first.batch_id])
    assert bench.store.prune(first.batch_id, 0, contents_only=True) == 1
    second = one(bench)
    assert ask(bench, second).upload == {second.id}


def test_the_same_bytes_in_one_claim_are_uploaded_once_and_the_others_wait(bench: Bench):
    bench.batch(3)
    files = bench.claim().files
    dealt = ask(bench, *files)
    assert dealt.upload == {files[0].id}
    assert dealt.waiting == {files[1].id, files[2].id}
    assert line_of(bench, files[1]).state is FileState.QUEUED
    assert line_of(bench, files[1]).error_code == "same_in_flight"
    assert bench.claim().files == ()
    assert bench.wake_released() == 0
    sent_with_key(bench, files[0])
    assert bench.wake_released() == 0
    ended(bench)
    assert bench.wake_released() == 2
    assert bench.wake_released() == 0
    woken = bench.claim().files
    assert ask(bench, *woken).reused == {files[1].id, files[2].id}
    assert bench.store.finish([files[0].batch_id]) == [files[0].batch_id]
    assert balanced(bench)


@pytest.mark.parametrize("end", ["failed", "cancelled", "handed back"])
def test_when_the_first_comes_to_nothing_the_next_goes_ahead(bench: Bench, end):
    first = one(bench)
    ask(bench, first)
    second, third = one(bench), one(bench)
    assert ask(bench, second, third).waiting == {second.id, third.id}
    match end:
        case "failed":
            bench.store.record([Ended(first.id, first.token, FileState.FAILED)])
        case "cancelled":
            bench.store.cancel(first.batch_id)
        case _:
            bench.store.hand_back([(first.id, first.token)])
    assert bench.wake_released() == 2
    files = bench.claim().files
    dealt = ask(bench, *files)
    assert (len(dealt.upload), len(dealt.waiting)) == (1, len(files) - 1)
    assert balanced(bench)


def test_content_that_changed_on_the_way_is_nobodys_result_but_its_own(bench: Bench):
    first = one(bench)
    ask(bench, first)
    sent_with_key(bench, first, key="j" * 64)
    ended(bench)
    second, third = one(bench), one(bench)
    assert ask(bench, second).upload == {second.id}
    assert ask(bench, third, key="j" * 64).reused == {third.id}


def test_a_killed_runs_file_holds_nobody_up_for_ever(bench: Bench):
    crew = Crew("run:gone")
    lost = one(bench, crew=crew)
    ask(bench, lost)
    ours = one(bench)
    assert ask(bench, ours).waiting == {ours.id}
    bench.outlive("files", "next_at")
    (again,) = bench.claim().files
    assert again.deaths < ALONE_AFTER
    assert ask(bench, again).upload == {ours.id}


def test_a_file_that_is_somebody_elses_by_now_is_left_alone(bench: Bench):
    first = one(bench)
    sent_with_key(bench, first)
    ended(bench)
    lost = one(bench)
    bench.expire_leases()
    (new,) = bench.claim().files
    assert ask(bench, lost) == type(ask(bench))()
    assert line_of(bench, lost).state is FileState.SUBMITTING
    assert ask(bench, new).reused == {new.id}


def test_a_forced_file_says_so_to_who_claims_it(bench: Bench):
    batch = bench.batch(1)
    bench.store.add_files(batch, ["/in/again.wav"], CREW, force=True)
    assert {file.source: file.forced for file in bench.claim().files} == {
        "/in/00000.wav": False,
        "/in/again.wav": True,
    }


def test_of_many_workers_with_the_same_bytes_one_uploads(bench: Bench, open_stores):
    bench.batch(24)
    files = bench.claim().files
    stores = [open_stores() for _ in range(4)]
    start = Barrier(4)

    def race(number):
        start.wait(30)
        return [stores[number].reuse(PROFILE, [wanted(file)], DAY) for file in files[number::4]]

    with ThreadPoolExecutor(4) as pool:
        dealt = [each for some in pool.map(race, range(4)) for each in some]
    assert sum(len(each.upload) for each in dealt) == 1
    assert sum(len(each.waiting) for each in dealt) == 23
    assert balanced(bench)
