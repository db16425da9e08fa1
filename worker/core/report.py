"""What `status --json` says and what a finished batch is announced with: one object."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from worker.core.model import BatchStatus


def status_object(status: BatchStatus) -> dict[str, Any]:
    """The JSON object of one batch, its fields in their outward order.

    `counts` names the states that occur; moments are ISO 8601 in UTC.
    """
    return {
        "batch_id": str(status.batch_id),
        "external_key": status.external_key,
        "profile": status.profile,
        "state": status.state.value,
        "total": status.total,
        "counts": {state.value: number for state, number in status.counts.items() if number},
        "started_at": iso(status.started_at),
        "finished_at": None if status.finished_at is None else iso(status.finished_at),
        "profile_state": status.profile_state,
        "profile_reason": status.profile_reason,
    }


def finished_event(status: BatchStatus, at: datetime) -> dict[str, Any]:
    """The payload that announces a finished batch."""
    return {"type": "batch.finished", "timestamp": iso(at), "data": status_object(status)}


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, with microseconds and a Z."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds") + "Z"
