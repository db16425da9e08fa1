"""Writing verdicts: everything a claim led to, in one transaction, fenced by the claim's token.

Where one upload ends the next one begins, so the same transaction says which may be sent.

The files are locked in the order of their ids, the new rows are worked out from what was read
under the lock, and go back with one statement a table.

A verdict that is repeated because the answer to its first writing was lost finds the lease gone
and `recorded_token` equal to its own: it was written, all of it, since one transaction writes a
verdict whole; so nothing more is written and the caller hears that it is done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from worker.adapters.database import gates
from worker.adapters.database.capacity import fitting
from worker.adapters.database.engine import Kind
from worker.adapters.database.gates import Gate
from worker.adapters.database.rows import cut_code, cut_message, event, ledger_of, lock_files
from worker.adapters.database.tables import LATER, POLL, READY, file_events, files, results, uploads
from worker.adapters.database.transaction import Repository, Transaction, writes
from worker.adapters.database.types import clean_or_none, clean_value
from worker.core.lifecycle import FileState, ServiceStatus
from worker.core.model import (
    Contents,
    FileId,
    Sending,
    UploadId,
    UploadResult,
    UploadState,
    Verdict,
)

_DESCRIBING = ("name", "size", "sha256", "category", "chatflow_file_id")
_UNSETTLED = frozenset({UploadState.INTENT, UploadState.SENT})
_UNSENT = frozenset({UploadState.INTENT, UploadState.WITHDRAWN})
_BIGGEST = 2**63 - 1

_NEEDED = (
    "id state lease_token recorded_token upload_attempts attempts_used polls name size sha256"
    " category chatflow_file_id service_status parsed submitted_at asked_at deadline_at"
    " deadline_seconds"
)
_READ = tuple(column for column in files.c if column.name in set(_NEEDED.split()))

_RESULT_COLUMNS = [column.name for column in results.c if column.name != "file_id"]


class RecordStore(Repository):
    """Verdicts, and uploads that are about to be sent."""

    @writes
    def record(
        self, tx: Transaction, verdicts: Sequence[Verdict], sending: Sequence[Sending] = ()
    ) -> set[FileId | UploadId]:
        """Write verdicts and what is sent next, in one transaction."""
        if not verdicts and not sending:
            return set()
        return _Writing(tx, fitting(tx, verdicts), sending).done()


class _Writing:
    """One call's verdicts and uploads, and the rows that they become."""

    def __init__(
        self, tx: Transaction, verdicts: Sequence[Verdict], sending: Sequence[Sending]
    ) -> None:
        self.tx = tx
        self.verdicts = verdicts
        self.sending = sending
        ending = [verdict.file for verdict in verdicts if verdict.upload is not None]
        beginning = [each.file for each in sending]
        self.locked = lock_files(tx, [*(verdict.file for verdict in verdicts), *beginning], _READ)
        self.ledger = ledger_of(tx, {*ending, *beginning})
        self.gates = {
            profile: gates.look(tx, profile, "upload")
            for profile in {each.profile for each in sending}
        }
        self.written: set[FileId] = set()
        self.cleared: set[UploadId] = set()
        self.files: list[dict[str, Any]] = []
        self.unchanged: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.uploads: list[dict[str, Any]] = []

    def done(self) -> set[FileId | UploadId]:
        for verdict in self.verdicts:
            if verdict.file in self.locked:
                self._judge(verdict, self.locked[verdict.file])
        for each in self.sending:
            if each.file in self.locked:
                self._send(each, self.locked[each.file])
        self._write()
        return self.written | self.cleared

    def _judge(self, verdict: Verdict, file: Row[Any]) -> None:
        counted = self._settle(verdict)
        if file.lease_token == verdict.token or self._adopts(verdict, file):
            self._apply(verdict, file, counted)
        elif file.recorded_token == verdict.token:
            self.written.add(verdict.file)

    # --- the ledger ---

    def _settle(self, verdict: Verdict) -> bool:
        """Write how the upload ended; whether somebody counted it as an attempt before."""
        if verdict.upload is None:
            return False
        upload = self._ledger_row(verdict.file, verdict.upload.id)
        if upload is None:
            return False
        if _teaches(upload.state, verdict.upload.state):
            self.uploads.append(_ended(self.tx, upload, verdict.upload))
        return upload.state not in _UNSETTLED

    def _ledger_row(self, file: FileId, upload: UploadId) -> Row[Any] | None:
        return next((row for row in self.ledger.get(file, []) if row.id == upload), None)

    def _adopts(self, verdict: Verdict, file: Row[Any]) -> bool:
        """Whether a file takes up an upload that was accepted after its lease was lost."""
        if verdict.upload is None:
            return False
        upload = self._ledger_row(verdict.file, verdict.upload.id)
        if upload is None:
            return False
        newer = [row for row in self.ledger[verdict.file] if row.attempt > upload.attempt]
        adopts = (
            verdict.upload.state is UploadState.ACCEPTED
            and upload.state != UploadState.ACCEPTED
            and not FileState(file.state).is_terminal
            and all(row.state in _UNSENT for row in newer)
        )
        if adopts:  # the lease ends with it, so what somebody else meant to send won't be
            meant = [row for row in newer if row.state == UploadState.INTENT]
            self.uploads += [_ended(self.tx, row, _withdrawn(row)) for row in meant]
        return adopts

    def _send(self, each: Sending, file: Row[Any]) -> None:
        upload = self._ledger_row(each.file, each.upload)
        freed = each.file in self.written  # by a verdict just now, an upload accepted late
        if upload is None or freed or not _may_be_sent(upload, file, self.gates[each.profile]):
            return
        self.cleared.add(each.upload)
        if upload.state == UploadState.INTENT:
            self.uploads.append(_sent(self.tx, upload))

    # --- the file ---

    def _apply(self, verdict: Verdict, file: Row[Any], counted: bool) -> None:  # noqa: FBT001
        self.written.add(verdict.file)
        if _is_plain_poll(verdict, file):
            self.unchanged.append(_asked_again(self.tx, verdict, file))
        else:
            attempts = int(verdict.counts_attempt and not counted)
            self.files.append(_new_row(self.tx, verdict, file, attempts))
        if verdict.state != file.state or verdict.note is not None:
            name, state = verdict.note or verdict.state.value, verdict.state.value
            self.events.append(event(verdict.file, self.tx.now, name, state, verdict.error))
        if verdict.contents is not None:
            self.results.append(_result(verdict.file, self.tx.now, verdict.contents))

    def _write(self) -> None:
        for table, rows in ((files, self.unchanged), (files, self.files), (uploads, self.uploads)):
            if rows:
                self.tx.update(table, rows)
        if self.results:
            self.tx.run(_upsert(self.tx.kind), self.results)
        if self.events:
            self.tx.insert(file_events, self.events)


def _teaches(known: str, told: UploadState) -> bool:
    """Whether what we are told says more about an upload than what we know.

    Certain knowledge is never overwritten by `unknown`; an acceptance tops everything.
    """
    if told is UploadState.ACCEPTED:
        return known != UploadState.ACCEPTED
    if known == UploadState.UNKNOWN:
        return told is UploadState.REFUSED
    return known in _UNSETTLED


def _withdrawn(upload: Row[Any]) -> UploadResult:
    return UploadResult(UploadId(upload.id), UploadState.WITHDRAWN)


def _ended(tx: Transaction, upload: Row[Any], result: UploadResult) -> dict[str, Any]:
    return {
        "id": upload.id,
        "state": result.state.value,
        "chatflow_file_id": result.chatflow_file_id,
        "code": cut_code(result.error),
        "message": cut_message(result.error),
        "sent_at": upload.sent_at,
        "ended_at": tx.now,
    }


def _may_be_sent(upload: Row[Any], file: Row[Any], gate: Gate) -> bool:
    if gate.state in {"paused", "frozen"}:
        return False
    # `sent` passes too: the caller asks again only when the answer to its first call was lost,
    # and so has sent nothing yet.
    held = file.lease_token == upload.lease_token
    probe_only = gate.state == "thawing" and upload.lease_token != gate.probe
    return held and not probe_only and upload.state in _UNSETTLED


def _sent(tx: Transaction, upload: Row[Any]) -> dict[str, Any]:
    return {
        "id": upload.id,
        "state": UploadState.SENT.value,
        "chatflow_file_id": None,
        "code": None,
        "message": None,
        "sent_at": tx.now,
        "ended_at": None,
    }


# --- a file's new row ----------------------------------------------------------------------------


def _is_plain_poll(verdict: Verdict, file: Row[Any]) -> bool:
    """A status call that found the file on its way: by far the most frequent verdict."""
    return (
        verdict.state is FileState.POLLING
        and file.state == FileState.POLLING
        and verdict.upload is None
        and verdict.deadline is None
        and not verdict.counts_attempt
        and not any(getattr(verdict, name) is not None for name in _DESCRIBING)
    )


def _asked_again(tx: Transaction, verdict: Verdict, file: Row[Any]) -> dict[str, Any]:
    return {
        "id": verdict.file,
        "next_at": tx.after(verdict.wait or 0.0),
        **_freed(verdict),
        "failures": verdict.failures,
        "polls": file.polls + verdict.asked,
        "asked_at": tx.now if verdict.asked else file.asked_at,
        "service_status": _status(verdict, file),
        "parsed": _parsed(verdict, file),
        "error_code": cut_code(verdict.error),
        "error_message": cut_message(verdict.error),
    }


def _new_row(tx: Transaction, verdict: Verdict, file: Row[Any], attempts: int) -> dict[str, Any]:
    lane, next_at = _place(tx, verdict)
    return {
        "id": verdict.file,
        "state": verdict.state.value,
        "lane": lane,
        "next_at": next_at,
        **_freed(verdict),
        "failures": verdict.failures,
        "upload_attempts": file.upload_attempts + attempts,
        "attempts_used": file.attempts_used + attempts,
        "error_code": cut_code(verdict.error),
        "error_message": cut_message(verdict.error),
        "finished_at": tx.now if verdict.state.is_terminal else None,
        **_described(verdict, file),
        **_with_service(tx, verdict, file),
    }


def _freed(verdict: Verdict) -> dict[str, Any]:
    return {
        "lease_token": None,
        "lease_until": None,
        "recorded_token": verdict.token,
        "deaths": 0,
    }


def _place(tx: Transaction, verdict: Verdict) -> tuple[str | None, datetime | None]:
    if verdict.state.is_terminal:
        return None, None
    wait = verdict.wait or 0.0
    if verdict.state is FileState.POLLING:
        return POLL, tx.after(wait)
    return (LATER if wait > 0 else READY), tx.after(wait)


def _described(verdict: Verdict, file: Row[Any]) -> dict[str, Any]:
    return {
        "name": file.name if verdict.name is None else verdict.name,
        "size": file.size if verdict.size is None else verdict.size,
        "sha256": file.sha256 if verdict.sha256 is None else verdict.sha256,
        "category": file.category if verdict.category is None else verdict.category,
    }


def _with_service(tx: Transaction, verdict: Verdict, file: Row[Any]) -> dict[str, Any]:
    accepted = verdict.upload is not None and verdict.upload.state is UploadState.ACCEPTED
    theirs = verdict.chatflow_file_id or (verdict.upload.chatflow_file_id if accepted else None)  # type: ignore[union-attr]
    deadline = None if verdict.deadline is None else tx.after(verdict.deadline)
    return {
        "chatflow_file_id": theirs or file.chatflow_file_id,
        # A new upload starts afresh: nothing was asked or parsed about it yet.
        "service_status": _number(verdict.status) if accepted else _status(verdict, file),
        "polls": int(verdict.asked) if accepted else file.polls + verdict.asked,
        "asked_at": tx.now if verdict.asked else None if accepted else file.asked_at,
        "parsed": _is_parsed(verdict) if accepted else _parsed(verdict, file),
        "submitted_at": tx.now if accepted else file.submitted_at,
        "deadline_at": deadline or file.deadline_at,
        "deadline_seconds": verdict.deadline or file.deadline_seconds,
    }


def _status(verdict: Verdict, file: Row[Any]) -> int | None:
    return file.service_status if verdict.status is None else _number(verdict.status)


def _number(status: int | None) -> int | None:
    """The service's number, unless no column can hold it."""
    return status if status is not None and abs(status) <= _BIGGEST else None


def _is_parsed(verdict: Verdict) -> bool:
    return verdict.status == ServiceStatus.PARSED


def _parsed(verdict: Verdict, file: Row[Any]) -> bool:
    return bool(file.parsed) or _is_parsed(verdict)


# --- contents ------------------------------------------------------------------------------------


def _result(file: UUID, at: datetime, contents: Contents) -> dict[str, Any]:
    segments = None if contents.segments is None else _json(contents.segments)
    texts = (clean_or_none(contents.parse_text), segments, clean_or_none(contents.llm_text))
    return {
        "file_id": file,
        "parse_content": texts[0],
        "parse_segments": texts[1],
        "llm_content": texts[2],
        "sanitized": contents.sanitized,
        "content_size": sum(len(text) for text in texts if text),
        "recorded_at": at,
    }


def _json(value: Any) -> str:
    """As readable JSON text that holds nothing a database's own JSON functions refuse."""
    return json.dumps(clean_value(value), ensure_ascii=False, separators=(",", ":"))


@cache
def _upsert(kind: Kind) -> Insert:
    match kind:
        case "sqlite":
            lite = sqlite.insert(results)
            return lite.on_conflict_do_update(
                index_elements=["file_id"], set_=_excluded(lite.excluded)
            )
        case "postgresql":
            large = postgresql.insert(results)
            return large.on_conflict_do_update(
                index_elements=["file_id"], set_=_excluded(large.excluded)
            )
        case "mariadb":
            maria = mysql.insert(results)
            return maria.on_duplicate_key_update(**_excluded(maria.inserted))


def _excluded(proposed: Any) -> dict[str, Any]:
    return {name: proposed[name] for name in _RESULT_COLUMNS}
