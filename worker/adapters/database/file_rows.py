"""What a verdict changes in its file's row, worked out from the row as it was under the lock."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from worker.adapters.database.engine.transaction import Transaction
from worker.adapters.database.tables import files
from worker.core.lifecycle import ServiceStatus
from worker.core.verdicts import Accepted, Ended, Requeued, Resumed, StillPolling, Traits, Verdict

_BIGGEST = 2**63 - 1

_KEPT = [
    "size",
    "sha256",
    "category",
    "chatflow_file_id",
    "service_status",
    "polls",
    "asked_at",
    "parsed",
    "submitted_at",
    "deadline_at",
    "deadline_seconds",
    "reuse_key",
]

_NEEDED = {
    *_KEPT,
    *["id", "state", "lease_token", "recorded_token", "upload_attempts", "attempts_used"],
}
READ = tuple(column for column in files.c if column.name in _NEEDED)
"""What has to be read of a row for all this."""


def kept(file: Row[Any]) -> dict[str, Any]:
    """The row as it was: verdicts that change different columns share a statement so."""
    return {name: getattr(file, name) for name in _KEPT}


def counted(file: Row[Any], attempts: int) -> dict[str, Any]:
    """So many uploads more."""
    return {
        "upload_attempts": file.upload_attempts + attempts,
        "attempts_used": file.attempts_used + attempts,
    }


def freed(verdict: Verdict) -> dict[str, Any]:
    """Its worker lives, and this verdict needs not be written again."""
    return {"recorded_token": verdict.token, "deaths": 0}


def begun(tx: Transaction, verdict: Accepted) -> dict[str, Any]:
    """A new upload starts afresh: nothing was asked or parsed about it yet.

    The status calls of an earlier one stay counted: `polls` are all that were made for the file.
    """
    return {
        "size": verdict.traits.size,
        "sha256": verdict.traits.sha256,
        "reuse_key": verdict.traits.reuse_key,
        "category": verdict.traits.category,
        "chatflow_file_id": verdict.chatflow_file_id,
        "service_status": _number(verdict.status),
        "asked_at": None,
        "parsed": verdict.status == ServiceStatus.PARSED,
        "submitted_at": tx.now,
        **_until(tx, verdict.deadline),
    }


def resumed(tx: Transaction, verdict: Resumed, file: Row[Any]) -> dict[str, Any]:
    """The file is polled on an upload of former days."""
    return {
        "chatflow_file_id": verdict.chatflow_file_id,
        **_said(verdict.status, file),
        **_until(tx, verdict.deadline),
    }


def heard(tx: Transaction, verdict: Requeued | Ended, file: Row[Any]) -> dict[str, Any]:
    """What the service said, if it was asked, and what was found out about the file."""
    said = asked if verdict.asked else _not_asked
    return {**said(tx, verdict.status, file), **_described(verdict.traits, file)}


def asked(tx: Transaction, status: int | None, file: Row[Any]) -> dict[str, Any]:
    """One status call more, and what it was answered."""
    return {"polls": file.polls + 1, "asked_at": tx.now, **_said(status, file)}


def late(verdict: Verdict, file: Row[Any], attempts: int) -> dict[str, Any]:
    """What stays true of a verdict whose teller has lost the file; its holder does not know it.

    A status call that was made, an upload that counts, and what nobody knew of the file.
    """
    facts: dict[str, Any] = counted(file, attempts) if attempts else {}
    if file.recorded_token == verdict.token:  # it was written, and its writer did not hear of it
        return facts
    if _was_asked(verdict):
        facts["polls"] = file.polls + 1
    traits = None if isinstance(verdict, Resumed | StillPolling) else verdict.traits
    if file.size is None and traits is not None:
        facts |= _described(traits, file)
    return facts


def _was_asked(verdict: Verdict) -> bool:
    match verdict:
        case StillPolling():
            return True
        case Requeued() | Ended():
            return verdict.asked
        case _:
            return False


def _described(traits: Traits | None, file: Row[Any]) -> dict[str, Any]:
    """What is known of the file; a digest of former days holds as long as the size does."""
    if traits is None:
        return {}
    return {
        "size": traits.size,
        "sha256": traits.sha256 or (file.sha256 if file.size == traits.size else None),
        "category": traits.category or file.category,
    }


def _not_asked(_tx: Transaction, status: int | None, file: Row[Any]) -> dict[str, Any]:
    return _said(status, file)


def _said(status: int | None, file: Row[Any]) -> dict[str, Any]:
    return {
        "service_status": file.service_status if status is None else _number(status),
        "parsed": bool(file.parsed) or status == ServiceStatus.PARSED,
    }


def _until(tx: Transaction, deadline: float) -> dict[str, Any]:
    return {"deadline_at": tx.after(deadline), "deadline_seconds": deadline}


def _number(status: int | None) -> int | None:
    """The service's number, unless no column can hold it."""
    return status if status is not None and abs(status) <= _BIGGEST else None
