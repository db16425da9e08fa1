"""What one status reply means for its file: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from worker.codes import ErrorCode
from worker.core.contents import is_empty
from worker.core.lifecycle import FileState, ServiceStatus, SettleAt
from worker.core.model.files import ErrorNote
from worker.core.model.wire import StatusReply


@dataclass(frozen=True, slots=True)
class GoOn:
    """Not yet: ask again later. `unknown` flags a status that the protocol does not name."""

    unknown: bool = False


@dataclass(frozen=True, slots=True)
class GoOnParsed:
    """Parsed, and the flow goes on: keep what the reply brought and ask again later."""


@dataclass(frozen=True, slots=True)
class SubmitAgain:
    """The upload will not move by itself any more; another one is needed.

    `error` is how the file fails when there is no attempt left.
    """

    error: ErrorNote


@dataclass(frozen=True, slots=True)
class Final:
    """The file's end; whatever contents the reply brought are kept with it."""

    state: FileState
    error: ErrorNote | None = None


Outcome = GoOn | GoOnParsed | SubmitAgain | Final


def decide(
    reply: StatusReply,
    *,
    settle_at: SettleAt,
    parsed: bool,
    expired: bool,
    flow_failed_succeeds: bool = False,
) -> Outcome:
    """Decide on one status reply.

    Args:
        reply: the service's word.
        settle_at: whether parsing (5) ends a file, or only the flow (7, 8).
        parsed: status 5 was seen before and its contents are stored.
        expired: the poll deadline is over. What the service has settled still counts, and so
            does a failed upload: its successor gets a deadline of its own.
        flow_failed_succeeds: 8 with contents is a success, and 8 without is not yet the end.
            Observed with a client that works in the service's OCR mode: there 8, "flow failed",
            is how a file ends well, and until its contents come the status says nothing.
    """
    outcome: Outcome
    if flow_failed_succeeds and reply.status == ServiceStatus.FLOW_FAILED:
        outcome = GoOn() if is_empty(reply.parse_content) else Final(FileState.SUCCEEDED)
    else:
        outcome = _by_status(reply, settle_at, parsed=parsed)
    if not expired:
        return outcome
    match outcome:
        case Final() | SubmitAgain():
            return outcome
        case GoOnParsed():
            return _out_of_time(parsed=True)
        case GoOn():
            return _out_of_time(parsed=parsed and settle_at is SettleAt.FLOW)
        case _:
            assert_never(outcome)


def _by_status(reply: StatusReply, settle_at: SettleAt, *, parsed: bool) -> Outcome:
    match ServiceStatus.known(reply.status):
        case None:
            return GoOn(unknown=True)
        case ServiceStatus.UPLOADING | ServiceStatus.UPLOAD_FINISHED | ServiceStatus.PARSING:
            return GoOn()
        case ServiceStatus.PARSED if settle_at is SettleAt.FLOW:
            return GoOnParsed()
        case ServiceStatus.PARSED | ServiceStatus.FLOW_SUCCEEDED:
            return Final(FileState.SUCCEEDED)
        case (
            ServiceStatus.UPLOAD_FAILED | ServiceStatus.PARSE_FAILED | ServiceStatus.FLOW_FAILED
        ) as failure:
            return _failed(failure, reply, parsed=parsed)
        case never:
            assert_never(never)


def _failed(status: ServiceStatus, reply: StatusReply, *, parsed: bool) -> Outcome:
    if status is ServiceStatus.UPLOAD_FAILED:
        return SubmitAgain(
            _note(ErrorCode.UPLOAD_FAILED, reply, "the service failed to take the file")
        )
    if status is ServiceStatus.PARSE_FAILED:
        error = _note(ErrorCode.PARSE_FAILED, reply, "the service failed to parse the file")
        return Final(FileState.FAILED, error)
    return _flow_failed(reply, parsed=parsed)


def _flow_failed(reply: StatusReply, *, parsed: bool) -> Final:
    """A failed flow loses nothing that parsing has brought, now or earlier."""
    kept = parsed or not is_empty(reply.parse_content)
    error = _note(ErrorCode.FLOW_FAILED, reply, "the flow failed")
    return Final(FileState.PARTIAL if kept else FileState.FAILED, error)


def _out_of_time(*, parsed: bool) -> Final:
    if parsed:
        error = ErrorNote(
            ErrorCode.DEADLINE, "parsed, but the flow did not end before the deadline"
        )
        return Final(FileState.PARTIAL, error)
    error = ErrorNote(ErrorCode.DEADLINE, "no final status before the deadline")
    return Final(FileState.TIMED_OUT, error)


def _note(code: str, reply: StatusReply, otherwise: str) -> ErrorNote:
    return ErrorNote(code, reply.error_message.strip() or otherwise)
