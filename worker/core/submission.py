"""What becomes of a file on its way to the service: one pure decision per outcome of an upload."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.lifecycle import FileState, ServiceStatus
from worker.core.model import (
    ClaimedFile,
    ErrorNote,
    UploadId,
    UploadReply,
    UploadResult,
    UploadState,
    Verdict,
)
from worker.core.pacing import call_backoff, upload_backoff
from worker.core.rules import SETTLE_DELAY, Rules
from worker.errors import (
    CredentialsRefused,
    IngestError,
    ServiceBusy,
    SourceRejected,
    TryLater,
    UploadRefused,
    UploadUnknown,
)

_ENDED_BADLY = frozenset(
    {ServiceStatus.UPLOAD_FAILED, ServiceStatus.PARSE_FAILED, ServiceStatus.FLOW_FAILED}
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent: as which category, how many bytes, and their digest in hex."""

    category: str
    size: int
    sha256: str


def note(error: IngestError) -> ErrorNote:
    """An error as it is kept with a file."""
    return ErrorNote(error.code, error.message)


def accepted(
    file: ClaimedFile,
    upload: UploadId,
    reply: UploadReply,
    rules: Rules,
    sent: Sent,
    wait: float,
) -> Verdict:
    """The service took the upload: the file is polled from now on, first after `wait` seconds."""
    return Verdict(
        file.id,
        file.token,
        FileState.POLLING,
        wait=wait,
        status=reply.status,
        chatflow_file_id=reply.chatflow_file_id,
        upload=UploadResult(upload, UploadState.ACCEPTED, reply.chatflow_file_id),
        counts_attempt=True,
        deadline=rules.poll_deadline,
        size=sent.size,
        sha256=sent.sha256,
        category=sent.category,
    )


def not_accepted(
    file: ClaimedFile, upload: UploadId, error: IngestError, rules: Rules, *, sent: bool
) -> Verdict:
    """The upload did not come about, was refused, or its reply was lost.

    Args:
        sent: whether the ledger says `sent`; an upload that never was is withdrawn, not refused.
    """
    match error:
        case UploadUnknown():
            return unknown(file, upload, error, rules)
        case UploadRefused():
            return _refused(file, upload, error, rules)
        case SourceRejected() if not sent:
            return ended(file, FileState.REJECTED, error, _result(upload, UploadState.WITHDRAWN))
        case SourceRejected():  # the body broke off, so the service can't have taken the file
            refusal = UploadRefused(error.message, code=error.code)
            return _refused(file, upload, refusal, rules)
        case CredentialsRefused() | ServiceBusy():
            return later(file, 0.0, _result(upload, UploadState.WITHDRAWN, error))
        case TryLater():
            wait = call_backoff(file.failures + 1)
            result = _result(upload, UploadState.WITHDRAWN, error)
            return later(file, wait, result, error, failures=file.failures + 1)
        case _:
            return ended(file, FileState.FAILED, error, _result(upload, UploadState.REFUSED, error))


def unknown(file: ClaimedFile, upload: UploadId, error: IngestError, rules: Rules) -> Verdict:
    """The upload may or may not have been taken, and nobody can tell: the rule decides."""
    result = _result(upload, UploadState.UNKNOWN, error)
    if rules.on_unknown_upload == "fail" or _spent(file, rules):
        return ended(file, FileState.FAILED, error, result, counts_attempt=True)
    return later(file, SETTLE_DELAY, result, error, counts_attempt=True)


def leftover(file: ClaimedFile, rules: Rules) -> Verdict | None:
    """What the ledger of a file that was claimed to be submitted demands first, if anything.

    A worker died between `sent` and the reply: the upload is unknown. An upload that was taken
    although its worker could not say so any more: the file is polled, never uploaded again.
    """
    entry = file.last_upload
    if entry is None:
        return None
    if entry.state is UploadState.SENT:
        error = UploadUnknown("the worker stopped before the upload's reply was recorded")
        return unknown(file, entry.id, error, rules)
    done = ServiceStatus.known(entry.service_status) in _ENDED_BADLY
    if entry.state is UploadState.ACCEPTED and entry.chatflow_file_id and not done:
        reply = UploadReply(entry.chatflow_file_id, entry.service_status)
        return Verdict(
            file.id,
            file.token,
            FileState.POLLING,
            wait=0.0,
            status=reply.status,
            chatflow_file_id=reply.chatflow_file_id,
            deadline=rules.poll_deadline,
        )
    return None


def ended(
    file: ClaimedFile,
    state: FileState,
    error: IngestError,
    upload: UploadResult | None = None,
    *,
    counts_attempt: bool = False,
) -> Verdict:
    """The file ends here, for this reason."""
    return Verdict(
        file.id,
        file.token,
        state,
        error=note(error),
        upload=upload,
        counts_attempt=counts_attempt,
    )


def later(
    file: ClaimedFile,
    wait: float,
    upload: UploadResult | None = None,
    error: IngestError | None = None,
    *,
    failures: int = 0,
    counts_attempt: bool = False,
) -> Verdict:
    """The file is queued again and submitted after a while."""
    return Verdict(
        file.id,
        file.token,
        FileState.QUEUED,
        wait=wait,
        error=note(error) if error else None,
        upload=upload,
        failures=failures,
        counts_attempt=counts_attempt,
        note=f"upload_{upload.state}" if upload and error else None,
    )


def _refused(file: ClaimedFile, upload: UploadId, error: UploadRefused, rules: Rules) -> Verdict:
    result = _result(upload, UploadState.REFUSED, error)
    if error.permanent or _spent(file, rules):
        return ended(file, FileState.FAILED, error, result, counts_attempt=True)
    wait = upload_backoff(file.upload_attempts + 1)
    return later(file, wait, result, error, counts_attempt=True)


def _spent(file: ClaimedFile, rules: Rules) -> bool:
    """Whether the upload that just ended was the file's last."""
    return file.upload_attempts + 1 >= rules.max_upload_attempts


def _result(upload: UploadId, state: UploadState, error: IngestError | None = None) -> UploadResult:
    return UploadResult(upload, state, error=note(error) if error else None)
