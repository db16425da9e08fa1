"""What becomes of a file whose status was asked for: a verdict out of a reply, or out of none."""

from __future__ import annotations

from typing import assert_never

from worker.codes import ErrorCode
from worker.core.contents import decode_contents, is_empty
from worker.core.lifecycle import FileEventName, FileState
from worker.core.model.files import ErrorNote, PolledFile
from worker.core.model.wire import Contents, StatusReply
from worker.core.outcome import Final, GoOn, GoOnParsed, SubmitAgain, decide
from worker.core.pacing import call_backoff, upload_backoff
from worker.core.rules import Rules
from worker.core.verdicts import Ended, Requeued, StillPolling, Verdict
from worker.errors import ServiceUnreachable, TryLater


def answered(file: PolledFile, reply: StatusReply, rules: Rules, wait: float) -> Verdict:
    """The verdict on a reply; `wait` is what the schedule says should the file go on."""
    outcome = decide(
        reply,
        settle_at=rules.settle_at,
        parsed=file.parsed,
        expired=file.expired,
        flow_failed_succeeds=rules.flow_failed_succeeds,
    )
    match outcome:
        case GoOn(unknown):
            return _going_on(
                file, reply, wait, note=FileEventName.UNKNOWN_STATUS if unknown else None
            )
        case GoOnParsed():
            return _going_on(file, reply, wait, contents=_contents(reply))
        case SubmitAgain(error):
            return _submit_again(file, reply, rules, error)
        case Final(state, error):
            return _ended(file, reply, state, error)
        case _:
            assert_never(outcome)


def unanswered(file: PolledFile, error: TryLater, *, patient: bool) -> StillPolling | Ended:
    """The verdict on a status call that failed: ask again later, until the deadline.

    Args:
        patient: ServiceUnreachable times no file out (a fleet); False for a run, which gives up.
    """
    note = ErrorNote(error.code, error.message, error.seconds)
    if file.expired and not (patient and isinstance(error, ServiceUnreachable)):
        state = FileState.PARTIAL if file.parsed else FileState.TIMED_OUT
        reason = ErrorNote(
            ErrorCode.DEADLINE, f"no final status before the deadline; last: {note.message}"
        )
        return Ended(file.id, file.token, state, reason, asked=True)
    return StillPolling(
        file.id,
        file.token,
        wait=_before_deadline(file, call_backoff(file.failures + 1)),
        error=note,
        failures=file.failures + 1,
        note=FileEventName.POLL_FAILED,
    )


def nothing_to_ask(file: PolledFile) -> Requeued:
    """The verdict on a polling file without an id to ask by: it is submitted again."""
    error = ErrorNote(ErrorCode.UNEXPECTED, "the file was polling without an id to ask by")
    return Requeued(
        file.id,
        file.token,
        wait=0.0,
        error=error,
        note=FileEventName.NO_FILE_ID,
    )


def _going_on(
    file: PolledFile,
    reply: StatusReply,
    wait: float,
    *,
    contents: Contents | None = None,
    note: FileEventName | None = None,
) -> StillPolling:
    known = note is None or reply.status == file.service_status  # said once, not at each poll
    return StillPolling(
        file.id,
        file.token,
        wait=_before_deadline(file, wait),
        status=reply.status,
        contents=contents,
        note=None if known else note,
        error=None
        if known
        else ErrorNote(ErrorCode.UNKNOWN_STATUS, f"the service said {reply.status}"),
    )


def _submit_again(file: PolledFile, reply: StatusReply, rules: Rules, error: ErrorNote) -> Verdict:
    name = FileEventName.UPLOAD_FAILED
    if file.attempts_used >= rules.max_upload_attempts:
        return Ended(
            file.id,
            file.token,
            FileState.FAILED,
            error,
            status=reply.status,
            asked=True,
            note=name,
        )
    wait = upload_backoff(file.attempts_used)
    return Requeued(file.id, file.token, wait, error, status=reply.status, asked=True, note=name)


def _ended(
    file: PolledFile, reply: StatusReply, state: FileState, error: ErrorNote | None
) -> Ended:
    return Ended(
        file.id,
        file.token,
        state,
        error=error,
        status=reply.status,
        contents=None if state is FileState.TIMED_OUT else _contents(reply),
        asked=True,
    )


def _contents(reply: StatusReply) -> Contents | None:
    """What the reply brought; None when it brought nothing, so that it can't wipe out more."""
    if is_empty(reply.parse_content) and is_empty(reply.llm_content):
        return None
    return decode_contents(reply.parse_content, reply.llm_content)


def _before_deadline(file: PolledFile, wait: float) -> float:
    """No wait leads past the deadline, so that it is kept to the second."""
    if file.deadline_in is None or file.deadline_in <= 0:
        return wait
    return min(wait, file.deadline_in)
