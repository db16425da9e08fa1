"""What becomes of a file whose status was asked for."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from worker.core.lifecycle import FileState, SettleAt
from worker.core.model.files import PolledFile
from worker.core.model.ids import BatchId, FileId, LeaseToken
from worker.core.model.wire import StatusReply
from worker.core.polling import answered, unanswered
from worker.core.rules import Rules
from worker.core.verdicts import StillPolling
from worker.errors import ServiceFault, ServiceUnreachable

RULES = Rules("default", max_upload_attempts=3)
FLOW = replace(RULES, settle_at=SettleAt.FLOW)
FILE = PolledFile(
    FileId(UUID(int=1)),
    BatchId(UUID(int=2)),
    LeaseToken(UUID(int=3)),
    "/data/a.wav",
    "a.wav",
    attempts_used=1,
    deadline_in=100.0,
)
LATE = replace(FILE, expired=True, deadline_in=-1.0)


def reply(status, parse=None, llm=None, error=""):
    return StatusReply(status, error, parse, llm)


@pytest.mark.parametrize(
    ("status", "parse", "rules", "state"),
    [
        (1, None, RULES, FileState.POLLING),
        (2, None, RULES, FileState.POLLING),
        (4, "[]", RULES, FileState.POLLING),
        (99, None, RULES, FileState.POLLING),
        (None, None, RULES, FileState.POLLING),
        (5, "text", RULES, FileState.SUCCEEDED),
        (5, "text", FLOW, FileState.POLLING),
        (6, None, RULES, FileState.FAILED),
        (7, "text", RULES, FileState.SUCCEEDED),
        (8, "text", RULES, FileState.PARTIAL),
        (8, "", RULES, FileState.FAILED),
        (3, None, RULES, FileState.QUEUED),
    ],
)
def test_each_status_leads_where_the_table_says(status, parse, rules, state):
    verdict = answered(FILE, reply(status, parse), rules, 3.0)
    assert verdict.state is state
    assert verdict.status == status
    assert isinstance(verdict, StillPolling) or verdict.asked


def test_contents_are_kept_whatever_the_state():
    assert answered(FILE, reply(5, "text"), FLOW, 3.0).contents.parse_text == "text"
    assert answered(FILE, reply(8, "text"), RULES, 3.0).contents.parse_text == "text"
    assert answered(FILE, reply(6, "half"), RULES, 3.0).contents.parse_text == "half"


def test_an_empty_reply_wipes_nothing_out():
    assert answered(replace(FILE, parsed=True), reply(7), FLOW, 3.0).contents is None


def test_a_failed_upload_is_repeated_only_while_attempts_are_left():
    spent = replace(FILE, attempts_used=3)
    verdict = answered(spent, reply(3, error="no disk"), RULES, 3.0)
    assert verdict.state is FileState.FAILED
    assert verdict.error.message == "no disk"


def test_a_deadline_that_is_over():
    assert answered(LATE, reply(4), RULES, 3.0).state is FileState.TIMED_OUT
    assert answered(LATE, reply(5, "text"), FLOW, 3.0).state is FileState.PARTIAL
    assert answered(LATE, reply(5, "text"), RULES, 3.0).state is FileState.SUCCEEDED


def test_no_wait_leads_past_the_deadline():
    assert answered(replace(FILE, deadline_in=1.5), reply(4), RULES, 3.0).wait == 1.5


def test_an_unknown_status_is_reported_once():
    first = answered(FILE, reply(42), RULES, 3.0)
    again = answered(replace(FILE, service_status=42), reply(42), RULES, 3.0)
    assert (first.note, again.note) == ("unknown_status", None)


def test_a_call_that_failed_is_made_again_until_the_deadline():
    verdict = unanswered(FILE, ServiceFault("502"), patient=True)
    assert (verdict.state, verdict.failures) == (FileState.POLLING, 1)
    assert unanswered(LATE, ServiceFault("502"), patient=True).state is FileState.TIMED_OUT


def test_a_service_out_of_reach_costs_a_fleets_file_nothing():
    down = ServiceUnreachable("down")
    assert unanswered(LATE, down, patient=True).state is FileState.POLLING
    assert unanswered(LATE, down, patient=False).state is FileState.TIMED_OUT
