"""What becomes of a file whose status was asked for: a verdict out of a reply, or out of none."""

from __future__ import annotations

from typing import assert_never

from worker.core.contents import decode_contents, is_empty
from worker.core.lifecycle import FileState
from worker.core.model import ClaimedFile, Contents, ErrorNote, StatusReply, Verdict
from worker.core.outcome import Ended, GoOn, GoOnParsed, SubmitAgain, decide
from worker.core.pacing import call_backoff, upload_backoff
from worker.core.rules import Rules
from worker.errors import ServiceUnreachable, TryLater


def answered(file: ClaimedFile, reply: StatusReply, rules: Rules, wait: float) -> Verdict:
    """The verdict on a reply; `wait` is what the schedule says should the file go on."""
    outcome = decide(reply, settle_at=rules.settle_at, parsed=file.parsed, expired=file.expired)
    match outcome:
        case GoOn(unknown):
            return _going_on(file, reply, wait, note="unknown_status" if unknown else None)
        case GoOnParsed():
            return _going_on(file, reply, wait, contents=_contents(reply))
        case SubmitAgain(error):
            return _submit_again(file, reply, rules, error)
        case Ended(state, error):
            return _ended(file, reply, state, error)
        case _:
            assert_never(outcome)


def unanswered(file: ClaimedFile, error: TryLater, *, patient: bool) -> Verdict:
    """The verdict on a status call that failed: ask again later, until the deadline.

    Args:
        patient: a service that can't even be reached costs no file its deadline, because it is
            asked once more when it is back.
    """
    note = ErrorNote(error.code, error.message)
    if file.expired and not (patient and isinstance(error, ServiceUnreachable)):
        state = FileState.PARTIAL if file.parsed else FileState.TIMED_OUT
        reason = ErrorNote("deadline", f"no final status before the deadline; last: {note.message}")
        return Verdict(file.id, file.token, state, error=reason, asked=True)
    return Verdict(
        file.id,
        file.token,
        FileState.POLLING,
        wait=_before_deadline(file, call_backoff(file.failures + 1)),
        error=note,
        asked=True,
        failures=file.failures + 1,
        note="poll_failed",
    )


def _going_on(
    file: ClaimedFile,
    reply: StatusReply,
    wait: float,
    *,
    contents: Contents | None = None,
    note: str | None = None,
) -> Verdict:
    known = note is None or reply.status == file.service_status  # said once, not at each poll
    return Verdict(
        file.id,
        file.token,
        FileState.POLLING,
        wait=_before_deadline(file, wait),
        status=reply.status,
        contents=contents,
        asked=True,
        note=None if known else note,
        error=None if known else ErrorNote("unknown_status", f"the service said {reply.status}"),
    )


def _submit_again(file: ClaimedFile, reply: StatusReply, rules: Rules, error: ErrorNote) -> Verdict:
    spent = file.upload_attempts >= rules.max_upload_attempts
    return Verdict(
        file.id,
        file.token,
        FileState.FAILED if spent else FileState.QUEUED,
        wait=None if spent else upload_backoff(file.upload_attempts),
        error=error,
        status=reply.status,
        asked=True,
        note="upload_failed",
    )


def _ended(
    file: ClaimedFile, reply: StatusReply, state: FileState, error: ErrorNote | None
) -> Verdict:
    return Verdict(
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


def _before_deadline(file: ClaimedFile, wait: float) -> float:
    """No wait leads past the deadline, so that it is kept to the second."""
    if file.deadline_in is None or file.deadline_in <= 0:
        return wait
    return min(wait, file.deadline_in)
