"""What becomes of a file for every way in which an upload can end."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from worker.core import submission
from worker.core.lifecycle import FileState
from worker.core.model import (
    BatchId,
    BatchOptions,
    ClaimedFile,
    FileId,
    LeaseToken,
    LedgerEntry,
    UploadId,
    UploadReply,
    UploadState,
)
from worker.core.rules import SETTLE_DELAY, Rules
from worker.errors import (
    CredentialsRefused,
    ServiceBusy,
    ServiceUnreachable,
    SourceRejected,
    UploadRefused,
    UploadUnknown,
)

UPLOAD = UploadId(UUID(int=9))
RULES = Rules("default", max_upload_attempts=3)
FILE = ClaimedFile(
    FileId(UUID(int=1)),
    BatchId(UUID(int=2)),
    LeaseToken(UUID(int=3)),
    "/data/a.wav",
    "a.wav",
    FileState.QUEUED,
    BatchOptions(),
)
LAST = replace(FILE, upload_attempts=2)


def verdict_on(error, file=FILE, rules=RULES, *, sent=True):
    return submission.not_accepted(file, UPLOAD, error, rules, sent=sent)


def test_an_accepted_upload_is_polled_until_its_deadline():
    verdict = submission.accepted(
        FILE, UPLOAD, UploadReply("77", 1), RULES, submission.Sent("Audio", 5, "ab"), 1.0
    )
    assert verdict.state is FileState.POLLING
    assert verdict.chatflow_file_id == "77"
    assert verdict.deadline == RULES.poll_deadline
    assert verdict.counts_attempt
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
        (SourceRejected("gone"), False, FileState.REJECTED, UploadState.WITHDRAWN, False),
        (SourceRejected("changed"), True, FileState.QUEUED, UploadState.REFUSED, True),
    ],
)
def test_an_upload_that_came_to_nothing(error, sent, state, ledger, counts):
    verdict = verdict_on(error, sent=sent)
    assert (verdict.state, verdict.upload.state) == (state, ledger)
    assert verdict.counts_attempt is counts
    assert (verdict.wait is None) is state.is_terminal


@pytest.mark.parametrize("error", [UploadUnknown("lost"), UploadRefused("no", code="400101")])
def test_the_last_attempt_fails_the_file_with_the_services_words(error):
    verdict = verdict_on(error, LAST)
    assert verdict.state is FileState.FAILED
    assert verdict.error.code == error.code


@pytest.mark.parametrize("error", [ServiceBusy("429"), ServiceUnreachable("down")])
def test_waiting_for_the_service_uses_up_no_attempt(error):
    assert verdict_on(error, LAST).state is FileState.QUEUED


def test_an_unknown_upload_settles_before_it_is_repeated():
    assert verdict_on(UploadUnknown("lost")).wait == SETTLE_DELAY


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
    assert submission.leftover(replace(FILE, last_upload=entry(state)), RULES) is None


def test_a_worker_that_died_after_sending_leaves_an_unknown_upload():
    verdict = submission.leftover(replace(FILE, last_upload=entry(UploadState.SENT)), RULES)
    assert verdict.upload.state is UploadState.UNKNOWN
    assert verdict.state is FileState.QUEUED


def test_an_upload_known_to_be_taken_is_polled_and_never_repeated():
    file = replace(FILE, last_upload=entry(UploadState.ACCEPTED, "77", 4), service_status=4)
    verdict = submission.leftover(file, RULES)
    assert (verdict.state, verdict.chatflow_file_id) == (FileState.POLLING, "77")


@pytest.mark.parametrize("status", [3, 6, 8])
def test_an_upload_that_ended_badly_is_followed_by_another(status):
    entered = entry(UploadState.ACCEPTED, "77", status)
    file = replace(FILE, last_upload=entered, service_status=status)
    assert submission.leftover(file, RULES) is None


def test_how_an_earlier_upload_ended_says_nothing_about_the_one_that_was_taken():
    file = replace(FILE, last_upload=entry(UploadState.ACCEPTED, "78"), service_status=3)
    verdict = submission.leftover(file, RULES)
    assert (verdict.state, verdict.chatflow_file_id, verdict.status) == ("polling", "78", None)
