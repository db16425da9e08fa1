"""What `status --json` says and what a finished batch is announced with: one object."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from worker.core.lifecycle import BatchState
from worker.core.model.batches import BatchStatus
from worker.core.model.ids import BatchId, fleet
from worker.core.seen import BatchDetails, OpenBreaker, SlowFile


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
        "reason": status.reason,
    }


def detailed_object(status: BatchStatus, details: BatchDetails) -> dict[str, Any]:
    """As `status_object`, with who attends, what went wrong, what was uploaded, what is left."""
    return status_object(status) | {
        "attended_by": details.attended_by,
        "errors": details.errors,
        "uploads": asdict(details.uploads),
        "eta_seconds": None if details.eta is None else [round(part, 1) for part in details.eta],
        "slow": [_slow(file) for file in details.slow],
        "breakers": [_breaker(each) for each in details.breakers],
    }


def nothing_object(profile: str, external_key: str | None) -> dict[str, Any]:
    """`detailed_object` where there was nothing to make a batch of: the same fields, none of it."""
    nothing = BatchStatus(
        batch_id=BatchId(UUID(int=0)),
        external_key=external_key,
        profile=profile,
        crew=fleet(profile),
        state=BatchState.FINISHED,
        total=0,
        counts={},
        started_at=datetime(1970, 1, 1, tzinfo=UTC),
        finished_at=None,
    )
    unmade = {"batch_id": None, "started_at": None}
    return detailed_object(nothing, BatchDetails(attended_by="nobody")) | unmade


def _breaker(each: OpenBreaker) -> dict[str, Any]:
    return {
        "category": each.category,
        "code": each.code,
        "failures": each.failures,
        "canary_in_seconds": round(each.canary_in, 1),
    }


def _slow(file: SlowFile) -> dict[str, Any]:
    return {
        "file_id": str(file.file_id),
        "name": file.name,
        "kind": file.kind,
        "seconds": round(file.seconds, 1),
        "p95_seconds": round(file.usual, 1),
    }


def finished_event(status: BatchStatus, details: BatchDetails, at: datetime) -> dict[str, Any]:
    """The payload that announces a finished batch."""
    data = detailed_object(status, details)
    return {"type": "batch.finished", "timestamp": iso(at), "data": data}


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, with milliseconds, which is as exact as every database is, and a Z."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="milliseconds") + "Z"
