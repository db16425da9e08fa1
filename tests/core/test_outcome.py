import pytest

from worker.core.lifecycle import FileState, SettleAt
from worker.core.model.files import ErrorNote
from worker.core.model.wire import StatusReply
from worker.core.outcome import Final, GoOn, GoOnParsed, SubmitAgain, decide

PARSE, FLOW = SettleAt.PARSE, SettleAt.FLOW
DEADLINE_PARTIAL = ErrorNote("deadline", "parsed, but the flow did not end before the deadline")
DEADLINE = ErrorNote("deadline", "no final status before the deadline")


def ask(status, settle_at=PARSE, *, content=None, words="", parsed=False, expired=False, ocr=False):
    reply = StatusReply(status, words, content, None)
    return decide(
        reply, settle_at=settle_at, parsed=parsed, expired=expired, flow_failed_succeeds=ocr
    )


@pytest.mark.parametrize("settle_at", [PARSE, FLOW])
@pytest.mark.parametrize("status", [1, 2, 4])
def test_on_the_way(status, settle_at):
    assert ask(status, settle_at) == GoOn()


@pytest.mark.parametrize("status", [None, 0, 9, -1])
def test_an_unknown_status_goes_on_and_is_flagged(status):
    assert ask(status) == GoOn(unknown=True)


def test_parsed_ends_a_file_only_when_settling_at_parse():
    assert ask(5, PARSE) == Final(FileState.SUCCEEDED)
    assert ask(5, FLOW) == GoOnParsed()


@pytest.mark.parametrize("settle_at", [PARSE, FLOW])
@pytest.mark.parametrize("expired", [False, True])
def test_final_statuses_win_even_over_the_deadline(settle_at, expired):
    assert ask(7, settle_at, expired=expired) == Final(FileState.SUCCEEDED)
    assert ask(6, settle_at, words="bad", expired=expired) == (
        Final(FileState.FAILED, ErrorNote("parse_failed", "bad"))
    )
    assert ask(8, settle_at, words="flow failed", content="text", expired=expired) == (
        Final(FileState.PARTIAL, ErrorNote("flow_failed", "flow failed"))
    )
    assert ask(8, settle_at, content="[]", expired=expired) == (
        Final(FileState.FAILED, ErrorNote("flow_failed", "the flow failed"))
    )


def test_a_failed_flow_loses_nothing_that_was_parsed_before():
    outcome = ask(8, FLOW, parsed=True)
    assert isinstance(outcome, Final)
    assert outcome.state is FileState.PARTIAL


@pytest.mark.parametrize("expired", [False, True])
def test_a_failed_upload_wants_another_one(expired):
    assert ask(3, words="disk full", expired=expired) == (
        SubmitAgain(ErrorNote("upload_failed", "disk full"))
    )


def test_status_5_at_parse_wins_over_the_deadline():
    assert ask(5, PARSE, expired=True) == Final(FileState.SUCCEEDED)


@pytest.mark.parametrize("status", [1, 2, 4, 9, None])
def test_the_deadline_ends_what_is_on_the_way(status):
    assert ask(status, expired=True) == Final(FileState.TIMED_OUT, DEADLINE)


def test_the_deadline_leaves_a_parsed_file_partial_when_settling_at_flow():
    assert ask(5, FLOW, expired=True) == Final(FileState.PARTIAL, DEADLINE_PARTIAL)
    assert ask(4, FLOW, parsed=True, expired=True) == Final(FileState.PARTIAL, DEADLINE_PARTIAL)
    assert ask(4, FLOW, expired=True) == Final(FileState.TIMED_OUT, DEADLINE)


@pytest.mark.parametrize("settle_at", [PARSE, FLOW])
@pytest.mark.parametrize("expired", [False, True])
def test_where_8_is_a_success_it_is_one_with_contents(settle_at, expired):
    outcome = ask(8, settle_at, content="[{}, 1]", words="flow failed", expired=expired, ocr=True)
    assert outcome == Final(FileState.SUCCEEDED)


@pytest.mark.parametrize("content", [None, "", "[]", []])
def test_where_8_is_a_success_it_is_asked_about_again_until_contents_come(content):
    assert ask(8, content=content, ocr=True) == GoOn()
    assert ask(8, content=content, ocr=True, expired=True) == Final(FileState.TIMED_OUT, DEADLINE)
    assert ask(8, FLOW, content=content, ocr=True, expired=True, parsed=True) == (
        Final(FileState.PARTIAL, DEADLINE_PARTIAL)
    )


def test_where_8_is_a_success_the_other_statuses_mean_what_they_meant():
    for status in (1, 2, 3, 4, 5, 6, 7, 9, None):
        assert ask(status, ocr=True) == ask(status)
