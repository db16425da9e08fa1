from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.gate import OPEN, PAUSED, Gate
from worker.core.ledger import (
    Upload,
    deciding,
    entry,
    find,
    learn,
    may_be_sent,
    meant,
    next_attempt,
    still_worked_on,
    teaches,
)
from worker.core.lifecycle import FileState
from worker.core.model.files import UploadResult, UploadState
from worker.core.model.ids import UploadId

INTENT, SENT, ACCEPTED, REFUSED, UNKNOWN, WITHDRAWN = UploadState
MINE, OTHER = UUID(int=100), UUID(int=200)


def upload(attempt, state, theirs=None, token=MINE):
    return Upload(UploadId(UUID(int=attempt)), attempt, state, token, theirs)


def ledger(*states):
    """A file's uploads in these states, the oldest first; accepted ones have ids."""
    return [
        upload(n, state, f"cf-{n}" if state is ACCEPTED else None)
        for n, state in enumerate(states, 1)
    ]


def told(attempt, state):
    return UploadResult(UploadId(UUID(int=attempt)), state)


LEDGERS = st.lists(st.sampled_from(UploadState), min_size=1, max_size=5).map(lambda s: ledger(*s))
OPEN_STATES = [state for state in FileState if not state.is_terminal]


@pytest.mark.parametrize("known", UploadState)
def test_an_acceptance_tops_everything_and_nothing_tops_it(known):
    assert teaches(known, ACCEPTED) is (known is not ACCEPTED)
    assert not teaches(ACCEPTED, known)


@pytest.mark.parametrize("known", [REFUSED, WITHDRAWN, ACCEPTED, UNKNOWN])
def test_what_is_certain_is_never_overwritten_by_what_is_not(known):
    assert not any(teaches(known, told) for told in (INTENT, SENT, UNKNOWN, WITHDRAWN))


@pytest.mark.parametrize(("known", "told"), list(product(UploadState, UploadState)))
def test_no_two_states_teach_each_other(known, told):
    assert not (teaches(known, told) and teaches(told, known))


def test_a_refusal_settles_what_was_unknown():
    assert teaches(UNKNOWN, REFUSED)
    assert teaches(SENT, WITHDRAWN)
    assert teaches(INTENT, SENT)
    assert not teaches(SENT, SENT)


def test_an_upload_that_the_ledger_does_not_have_teaches_nothing():
    assert learn(ledger(SENT), told(9, ACCEPTED), FileState.SUBMITTING, held=True) is None
    assert find(ledger(SENT), UploadId(UUID(int=9))) is None


@pytest.mark.parametrize("known", UploadState)
def test_a_holder_who_takes_for_unknown_what_was_told_meanwhile_is_outdated(known):
    lesson = learn(ledger(known), told(1, UNKNOWN), FileState.SUBMITTING, held=True)
    assert lesson.outdated is (known in {ACCEPTED, REFUSED, WITHDRAWN})
    assert not learn(ledger(known), told(1, UNKNOWN), FileState.QUEUED, held=False).outdated


def test_the_holders_word_is_news_and_counts_once():
    lesson = learn(ledger(SENT), told(1, ACCEPTED), FileState.SUBMITTING, held=True)
    assert (lesson.news, lesson.counts, lesson.adopted) == (True, True, False)
    again = learn(ledger(UNKNOWN), told(1, ACCEPTED), FileState.QUEUED, held=True)
    assert (again.news, again.counts) == (True, False)


@pytest.mark.parametrize("newer", [(), (INTENT,), (WITHDRAWN,), (WITHDRAWN, INTENT)])
def test_a_late_acceptance_is_adopted_when_nothing_newer_was_sent(newer):
    lesson = learn(ledger(UNKNOWN, *newer), told(1, ACCEPTED), FileState.SUBMITTING, held=False)
    assert lesson.adopted
    assert [each.state for each in lesson.called_off] == [s for s in newer if s is INTENT]


@pytest.mark.parametrize("newer", [SENT, ACCEPTED, REFUSED, UNKNOWN])
def test_a_late_acceptance_is_kept_but_not_adopted_beside_a_newer_upload(newer):
    lesson = learn(ledger(SENT, newer), told(1, ACCEPTED), FileState.QUEUED, held=False)
    assert (lesson.news, lesson.adopted, lesson.called_off) == (True, False, ())


@given(
    uploads=LEDGERS,
    index=st.integers(0, 4),
    said=st.sampled_from([ACCEPTED, REFUSED, UNKNOWN, WITHDRAWN]),
    file=st.sampled_from(FileState),
    held=st.booleans(),
)
def test_laws_of_adoption(uploads, index, said, file, held):
    attempt = index % len(uploads) + 1
    lesson = learn(uploads, told(attempt, said), file, held=held)
    assert lesson.upload.attempt == attempt
    if lesson.adopted:
        assert said is ACCEPTED
        assert lesson.news
        assert not held
        assert not file.is_terminal
        assert set(lesson.called_off) == set(meant(uploads[attempt:]))
        assert all(each.state in {INTENT, WITHDRAWN} for each in uploads[attempt:])
    else:
        assert lesson.called_off == ()


@pytest.mark.parametrize("state", UploadState)
def test_an_upload_is_sent_once_by_who_holds_its_file_while_the_gate_is_open(state):
    mine = upload(1, state)
    assert may_be_sent(mine, MINE, OPEN) is (state in {INTENT, SENT})
    assert not may_be_sent(mine, OTHER, OPEN)
    assert not may_be_sent(mine, None, OPEN)


@pytest.mark.parametrize(
    ("gate", "may"),
    [
        (PAUSED, False),
        (Gate("frozen", 3.0), False),
        (Gate("thawing", 3.0, MINE), True),
        (Gate("thawing", 0.0, OTHER), False),
        (Gate("thawing"), False),
    ],
)
def test_only_the_probe_passes_a_gate_that_is_not_open(gate, may):
    assert may_be_sent(upload(1, INTENT), MINE, gate) is may


@pytest.mark.parametrize(
    ("states", "decides"),
    [
        ((SENT,), 1),
        ((ACCEPTED, SENT), 2),
        ((ACCEPTED, REFUSED), 1),
        ((ACCEPTED, ACCEPTED, WITHDRAWN), 2),
        ((SENT, UNKNOWN), 2),
        ((REFUSED, WITHDRAWN), 1),
        ((UNKNOWN, WITHDRAWN, INTENT), 1),
        ((INTENT, WITHDRAWN), 2),
    ],
)
def test_which_upload_decides_what_a_file_needs(states, decides):
    assert deciding(ledger(*states)).attempt == decides


@given(uploads=LEDGERS)
def test_an_acceptance_decides_unless_the_newest_upload_is_still_open(uploads):
    chosen = deciding(uploads)
    if uploads[-1].state is SENT:
        assert chosen is uploads[-1]
    elif all(each.state is not ACCEPTED for each in uploads):
        assert all(each.state in {INTENT, WITHDRAWN} for each in uploads[chosen.attempt :])
    else:
        assert chosen.state is ACCEPTED
        assert all(each.state is not ACCEPTED for each in uploads[chosen.attempt :])


def test_without_uploads_nothing_decides_and_the_next_is_the_first():
    assert deciding([]) is None
    assert next_attempt([]) == 1
    assert next_attempt(ledger(REFUSED, WITHDRAWN)) == 3


def test_a_status_is_about_the_upload_that_was_asked_for():
    taken = upload(1, ACCEPTED, "cf-1")
    assert entry(taken, "cf-1", 4).service_status == 4
    assert entry(taken, "cf-2", 3).service_status is None
    assert entry(upload(1, SENT), None, 3).service_status is None


@pytest.mark.parametrize(
    ("states", "ended", "known", "status", "attempt"),
    [
        ((ACCEPTED,), FileState.TIMED_OUT, "cf-1", 4, 1),
        ((ACCEPTED,), FileState.FAILED, "cf-1", None, 1),
        ((ACCEPTED, WITHDRAWN), FileState.CANCELLED, "cf-1", 1, 1),
        ((ACCEPTED,), FileState.TIMED_OUT, "cf-1", 8, 1),
        ((ACCEPTED,), FileState.FAILED, "cf-1", 3, None),
        ((ACCEPTED,), FileState.FAILED, "cf-1", 6, None),
        ((ACCEPTED,), FileState.FAILED, "cf-1", 8, None),
        ((ACCEPTED, ACCEPTED), FileState.CANCELLED, "cf-1", 3, 2),  # accepted after the end
        ((ACCEPTED, UNKNOWN), FileState.FAILED, "cf-1", 4, None),
        ((ACCEPTED,), FileState.PARTIAL, "cf-1", 5, None),  # the table sends it back to the queue
        ((WITHDRAWN,), FileState.FAILED, None, None, None),
        ((), FileState.REJECTED, None, None, None),
    ],
)
def test_what_a_retry_polls_on(states, ended, known, status, attempt):
    found = still_worked_on(ledger(*states), ended, known, status)
    assert (found and found.attempt) == attempt
