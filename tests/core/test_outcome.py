import pytest

from worker.core.lifecycle import FileState, SettleAt
from worker.core.model import ErrorNote, StatusReply
from worker.core.outcome import Ended, GoOn, GoOnParsed, SubmitAgain, decide

PARSE, FLOW = SettleAt.PARSE, SettleAt.FLOW
DEADLINE_PARTIAL = ErrorNote("deadline", "parsed, but the flow did not end before the deadline")
DEADLINE = ErrorNote("deadline", "no final status before the deadline")


def ask(status, settle_at=PARSE, *, content=None, words="", parsed=False, expired=False):
    reply = StatusReply(status, words, content, None)
    return decide(reply, settle_at=settle_at, parsed=parsed, expired=expired)


@pytest.mark.parametrize("settle_at", [PARSE, FLOW])
@pytest.mark.parametrize("status", [1, 2, 4])
def test_on_the_way(status, settle_at):
    assert ask(status, settle_at) == GoOn()


@pytest.mark.parametrize("status", [None, 0, 9, -1])
def test_an_unknown_status_goes_on_and_is_flagged(status):
    assert ask(status) == GoOn(unknown=True)


def test_parsed_ends_a_file_only_when_settling_at_parse():
    assert ask(5, PARSE) == Ended(FileState.SUCCEEDED)
    assert ask(5, FLOW) == GoOnParsed()


@pytest.mark.parametrize("settle_at", [PARSE, FLOW])
@pytest.mark.parametrize("expired", [False, True])
def test_final_statuses_win_even_over_the_deadline(settle_at, expired):
    assert ask(7, settle_at, expired=expired) == Ended(FileState.SUCCEEDED)
    assert ask(6, settle_at, words="bad", expired=expired) == (
        Ended(FileState.FAILED, ErrorNote("parse_failed", "bad"))
    )
    assert ask(8, settle_at, words="flow failed", content="text", expired=expired) == (
        Ended(FileState.PARTIAL, ErrorNote("flow_failed", "flow failed"))
    )
    assert ask(8, settle_at, content="[]", expired=expired) == (
        Ended(FileState.FAILED, ErrorNote("flow_failed", "the flow failed"))
    )


def test_a_failed_flow_loses_nothing_that_was_parsed_before():
    outcome = ask(8, FLOW, parsed=True)
    assert isinstance(outcome, Ended)
    assert outcome.state is FileState.PARTIAL


@pytest.mark.parametrize("expired", [False, True])
def test_a_failed_upload_wants_another_one(expired):
    assert ask(3, words="disk full", expired=expired) == (
        SubmitAgain(ErrorNote("upload_failed", "disk full"))
    )


def test_status_5_at_parse_wins_over_the_deadline():
    assert ask(5, PARSE, expired=True) == Ended(FileState.SUCCEEDED)


@pytest.mark.parametrize("status", [1, 2, 4, 9, None])
def test_the_deadline_ends_what_is_on_the_way(status):
    assert ask(status, expired=True) == Ended(FileState.TIMED_OUT, DEADLINE)


def test_the_deadline_leaves_a_parsed_file_partial_when_settling_at_flow():
    assert ask(5, FLOW, expired=True) == Ended(FileState.PARTIAL, DEADLINE_PARTIAL)
    assert ask(4, FLOW, parsed=True, expired=True) == Ended(FileState.PARTIAL, DEADLINE_PARTIAL)
    assert ask(4, FLOW, expired=True) == Ended(FileState.TIMED_OUT, DEADLINE)
