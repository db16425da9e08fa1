"""What becomes of a file for every way in which an upload can end."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from worker.core import submission
from worker.core.ledger import COUNTED
from worker.core.lifecycle import FileState
from worker.core.model.files import LedgerEntry, QueuedFile, UploadState
from worker.core.model.ids import BatchId, FileId, LeaseToken, UploadId
from worker.core.model.wire import UploadReply
from worker.core.rules import Rules
from worker.core.verdicts import Ended, Traits
from worker.errors import (
    CredentialsRefused,
    Redirected,
    ServiceBusy,
    ServiceUnreachable,
    SourceAway,
    SourceRejected,
    UploadRefused,
    UploadUnknown,
)

UPLOAD = UploadId(UUID(int=9))
RULES = Rules("default", max_upload_attempts=3)
FILE = QueuedFile(
    FileId(UUID(int=1)),
    BatchId(UUID(int=2)),
    LeaseToken(UUID(int=3)),
    "/data/a.wav",
    "a.wav",
)
LAST = replace(FILE, attempts_used=2)


def verdict_on(error, file=FILE, rules=RULES, *, sent=True):
    return submission.not_accepted(file, UPLOAD, error, rules, sent=sent)


def test_an_accepted_upload_is_polled_until_its_deadline():
    verdict = submission.accepted(
        FILE, UPLOAD, UploadReply("77", 1), RULES, Traits("Audio", 5, "ab"), 1.0
    )
    assert verdict.state is FileState.POLLING
    assert verdict.chatflow_file_id == "77"
    assert verdict.deadline == RULES.poll_deadline
    assert verdict.upload is not None
    assert verdict.upload.state is UploadState.ACCEPTED


@pytest.mark.parametrize(
    ("error", "sent", "state", "ledger", "counts"),
    [
        (UploadUnknown("lost"), True, FileState.QUEUED, UploadState.UNKNOWN, True),
        (UploadRefused("no", code="400101"), True, FileState.QUEUED, UploadState.REFUSED, True),
        (UploadRefused("no", permanent=True), True, FileState.FAILED, UploadState.REFUSED, True),
        (ServiceBusy("429"), True, FileState.QUEUED, UploadState.WITHDRAWN, False),
        (ServiceUnreachable("down"), True, FileState.QUEUED, UploadState.WITHDRAWN, False),
        (CredentialsRefused("401"), True, FileState.QUEUED, UploadState.WITHDRAWN, False),
        (Redirected("302"), True, FileState.QUEUED, UploadState.WITHDRAWN, False),
        (SourceRejected("gone"), False, FileState.REJECTED, UploadState.WITHDRAWN, False),
        (SourceRejected("changed"), True, FileState.QUEUED, UploadState.REFUSED, True),
    ],
)
def test_an_upload_that_came_to_nothing(error, sent, state, ledger, counts):
    verdict = verdict_on(error, sent=sent)
    assert (verdict.state, verdict.upload.state) == (state, ledger)
    assert (ledger in COUNTED) is counts
    assert isinstance(verdict, Ended) is state.is_terminal


@pytest.mark.parametrize("error", [UploadUnknown("lost"), UploadRefused("no", code="400101")])
def test_the_last_attempt_fails_the_file_with_the_services_words(error):
    verdict = verdict_on(error, LAST)
    assert verdict.state is FileState.FAILED
    assert verdict.error.code == error.code


@pytest.mark.parametrize("error", [ServiceBusy("429"), ServiceUnreachable("down")])
def test_waiting_for_the_service_uses_up_no_attempt(error):
    assert verdict_on(error, LAST).state is FileState.QUEUED


def test_an_unknown_upload_settles_before_it_is_repeated():
    assert verdict_on(UploadUnknown("lost")).wait == RULES.timings.settle_delay


def test_an_unknown_upload_fails_where_the_rule_says_so():
    verdict = verdict_on(UploadUnknown("lost"), rules=replace(RULES, on_unknown_upload="fail"))
    assert verdict.state is FileState.FAILED
    assert verdict.error.code == "upload_unknown"


def entry(state, chatflow_file_id=None, status=None):
    return LedgerEntry(UPLOAD, state, chatflow_file_id, status)


@pytest.mark.parametrize(
    "state", [UploadState.INTENT, UploadState.WITHDRAWN, UploadState.REFUSED, UploadState.UNKNOWN]
)
def test_a_ledger_that_is_settled_lets_the_file_be_uploaded(state):
    assert submission.from_ledger(replace(FILE, deciding_upload=entry(state)), RULES) is None


@pytest.mark.parametrize(
    ("state", "code"),
    [(UploadState.UNKNOWN, "upload_unknown"), (UploadState.REFUSED, "upload_refused")],
)
def test_a_last_upload_whose_end_was_told_late_is_followed_by_no_other(state, code):
    file = replace(FILE, attempts_used=3, deciding_upload=entry(state))
    verdict = submission.from_ledger(file, RULES)
    assert (verdict.state, verdict.error.code, verdict.upload) == (FileState.FAILED, code, None)


def test_an_upload_that_was_told_late_to_be_unknown_fails_the_file_where_the_rule_says_so():
    rules = replace(RULES, on_unknown_upload="fail")
    file = replace(FILE, attempts_used=1, deciding_upload=entry(UploadState.UNKNOWN))
    assert submission.from_ledger(file, rules).state is FileState.FAILED
    retried = replace(file, attempts_used=0)  # the user wants another try
    assert submission.from_ledger(retried, rules) is None


def test_a_worker_that_died_after_sending_leaves_an_unknown_upload():
    verdict = submission.from_ledger(replace(FILE, deciding_upload=entry(UploadState.SENT)), RULES)
    assert verdict.upload.state is UploadState.UNKNOWN
    assert verdict.state is FileState.QUEUED


def test_an_upload_known_to_be_taken_is_polled_and_never_repeated():
    file = replace(FILE, deciding_upload=entry(UploadState.ACCEPTED, "77", 4))
    verdict = submission.from_ledger(file, RULES)
    assert (verdict.state, verdict.chatflow_file_id) == (FileState.POLLING, "77")


@pytest.mark.parametrize("status", [3, 6, 8])
def test_an_upload_that_ended_badly_is_followed_by_another(status):
    entered = entry(UploadState.ACCEPTED, "77", status)
    file = replace(FILE, deciding_upload=entered)
    assert submission.from_ledger(file, RULES) is None


def test_an_upload_whose_failed_flow_may_yet_succeed_is_polled_on():
    entered = entry(UploadState.ACCEPTED, "77", 8)
    file = replace(FILE, deciding_upload=entered)
    verdict = submission.from_ledger(file, replace(RULES, flow_failed_succeeds=True))
    assert (verdict.state, verdict.chatflow_file_id, verdict.status) == ("polling", "77", 8)


def test_how_an_earlier_upload_ended_says_nothing_about_the_one_that_was_taken():
    file = replace(FILE, deciding_upload=entry(UploadState.ACCEPTED, "78"))
    verdict = submission.from_ledger(file, RULES)
    assert (verdict.state, verdict.chatflow_file_id, verdict.status) == ("polling", "78", None)


def test_a_source_whose_place_is_away_is_looked_at_again_and_then_rejected():
    away = SourceAway("no connection", code="unreadable")
    file, waits = FILE, []
    while (verdict := submission.rejected(file, away)).state is FileState.QUEUED:
        waits.append(verdict.wait)
        assert verdict.failures == file.failures + 1
        file = replace(file, failures=verdict.failures)
    assert len(waits) == submission.SOURCE_ATTEMPTS - 1
    assert sum(waits) > 20
    assert verdict.state is FileState.REJECTED
    assert (verdict.error.code, verdict.error.message) == ("unreadable", "no connection")
    gone = submission.rejected(FILE, SourceRejected("gone", code="not_found"))
    assert gone.state is FileState.REJECTED


def test_a_place_that_goes_away_before_the_upload_is_sent_withdraws_it():
    away = SourceAway("no connection", code="unreadable")
    verdict = verdict_on(away, sent=False)
    assert (verdict.state, verdict.upload.state) == (FileState.QUEUED, UploadState.WITHDRAWN)
    spent = replace(FILE, failures=submission.SOURCE_ATTEMPTS - 1)
    assert verdict_on(away, spent, sent=False).state is FileState.REJECTED
