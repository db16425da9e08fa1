"""What becomes of a file on its way to the service: one pure decision per outcome of an upload."""

from __future__ import annotations

from dataclasses import replace

from worker.core.lifecycle import ENDED_BADLY, FileEventName, FileState, ServiceStatus
from worker.core.model.files import ErrorNote, QueuedFile, UploadResult, UploadState
from worker.core.model.ids import UploadId
from worker.core.model.wire import UploadReply
from worker.core.pacing import call_backoff, upload_backoff
from worker.core.rules import Rules
from worker.core.verdicts import Accepted, Ended, Requeued, Resumed, Traits
from worker.errors import (
    IngestError,
    ProfileStopped,
    ServiceBusy,
    SourceAway,
    SourceRejected,
    TryLater,
    UploadRefused,
    UploadUnknown,
)

SOURCE_ATTEMPTS = 10
"""Looks at a source whose place is away, before the file is rejected: some three minutes."""


def note(error: IngestError) -> ErrorNote:
    """An error as it is kept with a file."""
    return ErrorNote(error.code, error.message)


def accepted(
    file: QueuedFile,
    upload: UploadId,
    reply: UploadReply,
    rules: Rules,
    traits: Traits,
    wait: float,
) -> Accepted:
    """The service took the upload: the file is polled from now on, first after `wait` seconds."""
    return Accepted(
        file.id,
        file.token,
        upload,
        reply.chatflow_file_id,
        traits,
        wait,
        rules.poll_deadline,
        reply.status,
    )


def not_accepted(
    file: QueuedFile, upload: UploadId, error: IngestError, rules: Rules, *, sent: bool
) -> Requeued | Ended:
    """The upload did not come about, was refused, or its reply was lost.

    Args:
        sent: whether the ledger says `sent`; an upload that never was is withdrawn, not refused.
    """
    match error:
        case UploadUnknown():
            return unknown(file, upload, error, rules)
        case UploadRefused():
            return _refused(file, upload, error, rules)
        case SourceAway() if not sent and file.failures + 1 < SOURCE_ATTEMPTS:
            failures = file.failures + 1
            result = _result(upload, UploadState.WITHDRAWN, error)
            return later(file, upload_backoff(failures), result, error, failures=failures)
        case SourceRejected() if not sent:
            return ended(file, FileState.REJECTED, error, _result(upload, UploadState.WITHDRAWN))
        case SourceRejected():  # the body broke off, so the service can't have taken the file
            refusal = UploadRefused(error.message, code=error.code)
            return _refused(file, upload, refusal, rules)
        case ProfileStopped() | ServiceBusy():
            return later(file, 0.0, _result(upload, UploadState.WITHDRAWN, error))
        case TryLater():
            wait = call_backoff(file.failures + 1)
            result = _result(upload, UploadState.WITHDRAWN, error)
            return later(file, wait, result, error, failures=file.failures + 1)
        case _:
            return ended(file, FileState.FAILED, error, _result(upload, UploadState.REFUSED, error))


def rejected(file: QueuedFile, error: SourceRejected) -> Requeued | Ended:
    """The source can't be sent; a place that is away for the moment is asked some times more."""
    failures = file.failures + 1
    if isinstance(error, SourceAway) and failures < SOURCE_ATTEMPTS:
        wait = upload_backoff(failures)
        return Requeued(file.id, file.token, wait, note(error), failures=failures)
    return ended(file, FileState.REJECTED, error)


def unknown(
    file: QueuedFile, upload: UploadId, error: IngestError, rules: Rules
) -> Requeued | Ended:
    """The upload may or may not have been taken, and nobody can tell: the rule decides."""
    result = _result(upload, UploadState.UNKNOWN, error)
    if rules.on_unknown_upload == "fail" or _spent(file, rules):
        return ended(file, FileState.FAILED, error, result)
    return later(file, rules.timings.settle_delay, result, error)


def from_ledger(file: QueuedFile, rules: Rules) -> Requeued | Ended | Resumed | None:
    """What the ledger of a file that was claimed to be submitted demands first, if anything.

    A worker died between `sent` and the reply: the upload is unknown. An upload that was taken
    although its worker could not say so any more: the file is polled, never uploaded again.
    """
    entry = file.deciding_upload
    if entry is None:
        return None
    if entry.state is UploadState.SENT:
        error = UploadUnknown("the worker stopped before the upload's reply was recorded")
        verdict = unknown(file, entry.id, error, rules)
        meant = None if entry.size is None else Traits(entry.category, entry.size)
        return replace(verdict, traits=meant)
    status = ServiceStatus.known(entry.service_status)
    pending = status is ServiceStatus.FLOW_FAILED and rules.flow_failed_succeeds
    done = status in ENDED_BADLY and not pending
    if entry.state is UploadState.ACCEPTED and entry.chatflow_file_id and not done:
        theirs, said = entry.chatflow_file_id, entry.service_status
        return Resumed(file.id, file.token, theirs, rules.poll_deadline, said)
    return _used_up(file, entry.state, rules)


def _used_up(file: QueuedFile, last: UploadState, rules: Rules) -> Ended | None:
    """The end of a file whose last upload was told of late, when there may be no other.

    Its worker had lost the file by then, so nobody has decided what the word means for it.
    """
    spent = file.attempts_used >= rules.max_upload_attempts
    if last is UploadState.UNKNOWN and (
        spent or (file.attempts_used and rules.on_unknown_upload == "fail")
    ):
        lost = UploadUnknown("the upload's reply was lost, and no other upload may follow")
        return ended(file, FileState.FAILED, lost)
    if last is UploadState.REFUSED and spent:
        refused = UploadRefused("the service refused the last of its uploads")
        return ended(file, FileState.FAILED, refused)
    return None


def ended(
    file: QueuedFile, state: FileState, error: IngestError, upload: UploadResult | None = None
) -> Ended:
    """The file ends here, for this reason."""
    return Ended(file.id, file.token, state, note(error), upload)


def later(
    file: QueuedFile,
    wait: float,
    upload: UploadResult,
    error: IngestError | None = None,
    *,
    failures: int = 0,
) -> Requeued:
    """The file is queued again and submitted after a while."""
    return Requeued(
        file.id,
        file.token,
        wait,
        note(error) if error else None,
        upload,
        failures=failures,
        note=FileEventName(f"upload_{upload.state}") if error else None,
    )


def _refused(
    file: QueuedFile, upload: UploadId, error: UploadRefused, rules: Rules
) -> Requeued | Ended:
    result = _result(upload, UploadState.REFUSED, error)
    if error.permanent or _spent(file, rules):
        return ended(file, FileState.FAILED, error, result)
    wait = upload_backoff(file.attempts_used + 1)
    return later(file, wait, result, error)


def _spent(file: QueuedFile, rules: Rules) -> bool:
    """Whether the upload that just ended was the file's last."""
    return file.attempts_used + 1 >= rules.max_upload_attempts


def _result(upload: UploadId, state: UploadState, error: IngestError | None = None) -> UploadResult:
    return UploadResult(upload, state, error=note(error) if error else None)
