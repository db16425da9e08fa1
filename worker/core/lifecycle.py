"""A file's states, the service's statuses, and the one table of allowed transitions."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from types import MappingProxyType


class FileState(StrEnum):
    """Where a file stands with us."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    POLLING = "polling"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    REJECTED = "rejected"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing but a user's `retry` moves the file any more."""
        return self not in _OPEN

    @property
    def lane(self) -> Lane | None:
        """The step that attends to a file in this state next; None when it is terminal."""
        if self is FileState.POLLING:
            return Lane.POLL
        return None if self.is_terminal else Lane.SUBMIT


_OPEN = frozenset({FileState.QUEUED, FileState.SUBMITTING, FileState.POLLING})


class Lane(StrEnum):
    """The two kinds of work that open files wait for."""

    SUBMIT = "submit"
    POLL = "poll"


class BatchState(StrEnum):
    """Where a batch stands."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    """What was handed in could not be taken in: it has a reason, and no files."""


class ServiceStatus(IntEnum):
    """The service's own numbers for an offline file (protocol: asking for a file's status)."""

    UPLOADING = 1
    UPLOAD_FINISHED = 2
    UPLOAD_FAILED = 3
    PARSING = 4
    PARSED = 5
    PARSE_FAILED = 6
    FLOW_SUCCEEDED = 7
    FLOW_FAILED = 8

    @classmethod
    def known(cls, number: int | None) -> ServiceStatus | None:
        """The status with this number, or None for one the protocol does not name."""
        return cls._value2member_map_.get(number) if number is not None else None  # type: ignore[return-value]

    @classmethod
    def word(cls, number: int) -> str:
        """What it means, in a word or two."""
        known = cls.known(number)
        return "unknown" if known is None else known.name.replace("_", " ").lower()


ENDED_BADLY = frozenset(
    {ServiceStatus.UPLOAD_FAILED, ServiceStatus.PARSE_FAILED, ServiceStatus.FLOW_FAILED}
)
"""What is left to a file with one of these is another upload."""


class SettleAt(StrEnum):
    """Which status ends a file: parsing (5), or only the flow (7, 8)."""

    PARSE = "parse"
    FLOW = "flow"


TRANSITIONS = MappingProxyType(
    {
        FileState.QUEUED: frozenset(
            {
                FileState.SUBMITTING,
                FileState.POLLING,  # a reply believed lost was recorded late
                FileState.REJECTED,
                FileState.FAILED,
                FileState.CANCELLED,
            }
        ),
        FileState.SUBMITTING: frozenset(
            {
                FileState.QUEUED,  # handed back, refused for now, or to be submitted again
                FileState.POLLING,
                FileState.REJECTED,
                FileState.FAILED,
                FileState.CANCELLED,
            }
        ),
        FileState.POLLING: frozenset(
            {
                FileState.QUEUED,  # status 3: the upload failed, submit again
                FileState.SUCCEEDED,
                FileState.PARTIAL,
                FileState.FAILED,
                FileState.TIMED_OUT,
                FileState.CANCELLED,
            }
        ),
    }
)
"""From each open state, the states a file may go to."""

RETRIES = MappingProxyType(
    {
        FileState.SUCCEEDED: frozenset[FileState](),
        FileState.PARTIAL: frozenset({FileState.QUEUED}),
        FileState.FAILED: frozenset({FileState.QUEUED, FileState.POLLING}),
        FileState.TIMED_OUT: frozenset({FileState.POLLING, FileState.QUEUED}),
        FileState.REJECTED: frozenset({FileState.QUEUED}),
        FileState.CANCELLED: frozenset({FileState.QUEUED, FileState.POLLING}),
    }
)
"""From each terminal state, the states that `retry`, and nothing else, may open a file in."""


class ForbiddenTransition(RuntimeError):
    """Code of ours tried to move a file as no table allows: nothing of it was written."""

    def __init__(self, old: FileState, new: FileState, *, how: str) -> None:
        super().__init__(f"a file that is {old} can't become {new} {how}")


def advance(old: FileState, new: FileState) -> FileState:
    """The new state of an open file; it may also stay what it is.

    A terminal state is written once, and left by `reopen` alone.

    Raises:
        ForbiddenTransition: the table does not allow it.
    """
    if new is old and not old.is_terminal:
        return new
    if new not in TRANSITIONS.get(old, ()):
        raise ForbiddenTransition(old, new, how="by itself")
    return new


def may_reopen(old: FileState, new: FileState) -> bool:
    """Whether `retry` may open a file in the state `new` that ended as `old`."""
    return new in RETRIES.get(old, ())


def reopen(old: FileState, new: FileState) -> FileState:
    """The new state of a file that ended as `old` and is opened again by `retry`.

    Raises:
        ForbiddenTransition: the table does not allow it, or the file is open.
    """
    if not may_reopen(old, new):
        raise ForbiddenTransition(old, new, how="by `retry`")
    return new


def take_over(old: FileState, new: FileState) -> FileState:
    """The new state of a file that is given the result of the same bytes, without an upload.

    Raises:
        ForbiddenTransition: it was not about to be uploaded, or has not succeeded.
    """
    if (old, new) != (FileState.SUBMITTING, FileState.SUCCEEDED):
        raise ForbiddenTransition(old, new, how="with another file's result")
    return new


class FileEventName(StrEnum):
    """What a file's story is told in: each entry of `file_events` has one of these names.

    An entry that only tells of a new state has that state's name.
    """

    QUEUED = "queued"
    SUBMITTING = "submitting"
    POLLING = "polling"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    REJECTED = "rejected"
    CANCELLED = "cancelled"

    LEASE_LOST = "lease_lost"  # its holder died or froze; somebody else has claimed it
    HANDED_BACK = "handed_back"  # its holder could not work it now
    HANDED_OVER = "handed_over"  # to another crew
    RETRIED = "retried"
    STATUS = "status"  # the service told another number than before
    REUSED = "reused"  # the same bytes had been ingested before: their result is this one's too
    POLL_FAILED = "poll_failed"
    UNKNOWN_STATUS = "unknown_status"
    NO_FILE_ID = "no_file_id"  # there was nothing to ask the service by
    UPLOAD_FAILED = "upload_failed"  # the service said so: status 3
    UPLOAD_REFUSED = "upload_refused"
    UPLOAD_UNKNOWN = "upload_unknown"
    UPLOAD_WITHDRAWN = "upload_withdrawn"
    TAKEN_AWAY = "taken_away"  # deleted or moved, as its schedule wants
    NOT_TAKEN_AWAY = "not_taken_away"

    @classmethod
    def of(cls, state: FileState) -> FileEventName:
        """The name of the entry that only tells of this new state."""
        return cls(state.value)


def check_step(old: FileState, event: FileEventName, new: FileState) -> None:
    """Hold one entry of a file's story against the tables.

    Raises:
        ForbiddenTransition: the entry could not follow where the file stood.
    """
    if event is FileEventName.RETRIED:
        reopen(old, new)
    elif event is FileEventName.REUSED:
        take_over(old, new)
    elif event not in _AFTERWARDS or new is not old:
        advance(old, new)


_AFTERWARDS = frozenset({FileEventName.TAKEN_AWAY, FileEventName.NOT_TAKEN_AWAY})
