"""What operators get to see: log events and metrics, by their fixed names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol
from uuid import UUID

EventName = Literal[
    "batch_finished",
    "breaker_closed",
    "breaker_opened",
    "credentials_refused",
    "dialog_failed",
    "dialog_noise",
    "file_ended",
    "files_cancelled",
    "files_failed",
    "message_refused",
    "freeze_extended",
    "notification_dead",
    "notification_failed",
    "notification_sent",
    "profile_frozen",
    "profile_paused",
    "profile_resumed",
    "profile_thawed",
    "redirected",
    "schedule_fired",
    "schedule_failed",
    "step_failed",
    "store_unavailable",
    "taken_away",
    "take_away_failed",
    "tracing_off",
    "unknown_status",
    "upload_unknown",
    "worker_draining",
    "worker_lost",
    "worker_ready",
    "worker_stuck",
]
"""Every event that is logged."""

CounterName = Literal[
    "chatflow_ingest_calls_total",  # profile, channel, outcome
    "chatflow_ingest_dialog_noise_total",  # profile
    "chatflow_ingest_uploads_total",  # profile, outcome
    "chatflow_ingest_files_ended_total",  # profile, state
    "chatflow_ingest_messages_refused_total",  # part
    "chatflow_ingest_retries_total",  # profile, cause
    "chatflow_ingest_results_reused_total",  # profile
]

HistogramName = Literal[
    "chatflow_ingest_call_seconds",  # profile, channel
    "chatflow_ingest_lag_seconds",  # profile
]


SpanName = Literal["dialog", "upload", "status", "record"]
"""The pieces of a file's trace."""


class Tracing(Protocol):
    """What a distributed trace tells, where that is switched on: one trace a file, one a batch.

    A trace is told of when something has ended, and named by the file's or the batch's id alone, so
    that every process tells of the same one and none has to hand anything on.
    """

    def span(
        self, name: SpanName, file: UUID, seconds: float, error: str | None = None, **facts: object
    ) -> None:
        """Tell a piece of a file's way that has ended just now.

        Args:
            name: what was done.
            file: whose trace it belongs to.
            seconds: how long it took.
            error: its code when it did not go well.
            facts: ids, counts and codes beside it; None is left out.
        """
        ...

    def whole(
        self,
        whose: UUID,
        since: float,
        batch: UUID | None = None,
        error: str | None = None,
        **facts: object,
    ) -> None:
        """Tell that a file, or a batch, has ended just now: its trace is whole.

        Args:
            whose: the file, or the batch.
            since: when it was handed in, POSIX seconds.
            batch: the batch of a file, whose trace is linked; None for a batch.
            error: the code when it did not end well.
            facts: as those of `span`.
        """
        ...

    def handed_in(self, batch: UUID, carrier: Mapping[str, str]) -> None:
        """Tell in the trace of whoever handed a batch in that it has arrived.

        Args:
            batch: whose trace is linked.
            carrier: the message's headers, with W3C's `traceparent` if there is such a trace.
        """
        ...

    def close(self) -> None:
        """Give out what is still held back; within some seconds, or not at all."""
        ...


class Telemetry(Tracing, Protocol):
    """What operators get to see; takes ids and counts, never contents or credentials."""

    def event(self, name: EventName, **fields: object) -> None:
        """Say one thing that happened."""
        ...

    def count(self, metric: CounterName, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, metric: HistogramName, seconds: float, **labels: str) -> None:
        """Note one duration."""
        ...
