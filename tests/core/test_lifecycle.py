from itertools import product

import pytest

from tests.stories import story_faults
from worker.codes import ErrorCode
from worker.core.lifecycle import (
    RETRIES,
    TRANSITIONS,
    FileEventName,
    FileState,
    ForbiddenTransition,
    Lane,
    advance,
    check_step,
    may_reopen,
    reopen,
)
from worker.core.model.files import UploadState
from worker.core.model.stories import FileEvent
from worker.errors import IngestError

OPEN = {state for state in FileState if not state.is_terminal}
PAIRS = list(product(FileState, FileState))

ALLOWED = {
    "queued": "queued submitting polling rejected failed cancelled",
    "submitting": "submitting queued polling rejected failed cancelled",
    "polling": "polling queued succeeded partial failed timed_out cancelled",
}
REOPENED = {
    "partial": "queued",
    "failed": "queued polling",
    "timed_out": "queued polling",
    "rejected": "queued",
    "cancelled": "queued polling",
}


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_file_goes_by_itself_where_the_table_allows_it_and_nowhere_else(old, new):
    if new in ALLOWED.get(old, "").split():
        assert advance(old, new) is new
    else:
        with pytest.raises(ForbiddenTransition, match=f"{old} can't become {new}"):
            advance(old, new)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_only_what_has_ended_is_opened_again(old, new):
    allowed = new in REOPENED.get(old, "").split()
    assert may_reopen(old, new) is allowed
    if allowed:
        assert reopen(old, new) is new
    else:
        with pytest.raises(ForbiddenTransition, match="by `retry`"):
            reopen(old, new)


def test_every_state_stands_in_one_table():
    assert set(TRANSITIONS) == OPEN
    assert set(RETRIES) == set(FileState) - OPEN


def test_every_open_file_can_end_and_has_a_lane():
    for state in OPEN:
        assert any(new.is_terminal for new in TRANSITIONS[state])
        assert state.lane in Lane
    assert all(state.lane is None for state in RETRIES)


def test_every_state_and_every_end_of_an_upload_that_comes_back_has_an_event():
    assert {FileEventName.of(state).value for state in FileState} == {*FileState}
    ends = (UploadState.REFUSED, UploadState.UNKNOWN, UploadState.WITHDRAWN)
    assert {f"upload_{end}" for end in ends} <= set(FileEventName)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_story_that_the_tables_forbid_is_seen(old, new):
    told = FileEventName.of(new)
    if new in ALLOWED.get(old, "").split():
        check_step(old, told, new)
    else:
        with pytest.raises(ForbiddenTransition):
            check_step(old, told, new)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_only_what_is_about_to_be_uploaded_takes_over_a_result(old, new):
    if (old, new) == (FileState.SUBMITTING, FileState.SUCCEEDED):
        check_step(old, FileEventName.REUSED, new)
    else:
        with pytest.raises(ForbiddenTransition, match="another file's result"):
            check_step(old, FileEventName.REUSED, new)


def test_taking_a_file_away_leaves_it_as_it_ended():
    check_step(FileState.SUCCEEDED, FileEventName.TAKEN_AWAY, FileState.SUCCEEDED)
    with pytest.raises(ForbiddenTransition):
        check_step(FileState.SUCCEEDED, FileEventName.TAKEN_AWAY, FileState.FAILED)


def story(*told):
    return [FileEvent(None, name, FileState(state), None, None) for name, state in told]


def test_a_story_is_whole_when_it_leads_to_where_the_file_is():
    events = story(("submitting", "submitting"), ("polling", "polling"), ("failed", "failed"))
    again = story(("retried", "queued"), ("cancelled", "cancelled"))
    assert story_faults(events, FileState.FAILED) == []
    assert story_faults(events + again, FileState.CANCELLED) == []
    assert story_faults(events, FileState.POLLING) == [
        "its events lead to failed, and it is polling"
    ]
    assert len(story_faults([*events, *events], FileState.FAILED)) == 1
    assert len(story_faults(story(("queer", "queued")), FileState.QUEUED)) == 1


def kinds(error=IngestError):
    yield error
    for kind in error.__subclasses__():
        yield from kinds(kind)


def test_every_error_of_ours_has_a_code_that_is_explained():
    assert {kind for kind in kinds() if not isinstance(kind.code, ErrorCode)} == set()


def test_codes_fit_their_column_and_say_what_they_mean_and_what_to_do():
    for code in ErrorCode:
        assert code.isidentifier()
        assert len(code) <= 64
        assert code.meaning
        assert code.cure
        assert "|" not in code.meaning + code.cure
