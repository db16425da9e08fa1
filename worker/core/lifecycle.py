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
        # Terminal states are left only by `retry`.
        FileState.SUCCEEDED: frozenset(),
        FileState.PARTIAL: frozenset({FileState.QUEUED}),
        FileState.FAILED: frozenset({FileState.QUEUED, FileState.POLLING}),
        FileState.TIMED_OUT: frozenset({FileState.POLLING, FileState.QUEUED}),
        FileState.REJECTED: frozenset({FileState.QUEUED}),
        FileState.CANCELLED: frozenset({FileState.QUEUED, FileState.POLLING}),
    }
)
"""From each state, the states a file may go to."""


def may_become(old: FileState, new: FileState) -> bool:
    """Whether a file may go from `old` to `new`; staying where it is always may be."""
    return old is new or new in TRANSITIONS[old]
