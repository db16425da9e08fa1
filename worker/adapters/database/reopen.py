"""Moving many files at once: cancel, fail, hand over, retry. In bounded transactions.

Each step locks the batch, if it changes it, and then some of its files in the order of their
ids. What a crash leaves undone, the same call does when it is repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select

from worker.adapters.database.batches import run_again, stamp
from worker.adapters.database.rows import (
    OPEN_LANES,
    OPEN_STATES,
    cut_code,
    cut_message,
    event,
    ledger_of,
    lock_batch,
    lock_files,
)
from worker.adapters.database.tables import POLL, READY, batches, file_events, files
from worker.adapters.database.transaction import Repository, Transaction, reads, writes
from worker.core.lifecycle import BatchState, FileState, ServiceStatus, may_become
from worker.core.model import BatchId, Crew, ErrorNote, UploadState
from worker.errors import UnknownBatch

_AT_ONCE = 1000
_SETTLED = frozenset(
    {ServiceStatus.UPLOAD_FAILED, ServiceStatus.PARSE_FAILED, ServiceStatus.FLOW_FAILED}
)
_USUAL_DEADLINE = 3600.0
_FREE: dict[str, Any] = {"lease_token": None, "lease_until": None}


class ReopenStore(Repository):
    """What a user, or the end of a run, does to all files of a batch."""

    def cancel(self, batch: BatchId) -> int:
        """End every open file as `cancelled`, whoever holds it, and the batch with them."""
        ended = sum(self._cancel_some(batch, window) for window in self._windows(batch))
        return ended + self._cancel_rest(batch)

    @writes
    def _cancel_some(self, tx: Transaction, batch: BatchId, window: range) -> int:
        return _end(tx, _locked(tx, batch, window, OPEN_STATES), FileState.CANCELLED, None)

    @writes
    def _cancel_rest(self, tx: Transaction, batch: BatchId) -> int:
        """With the batch locked no file can be added any more: end what came in between."""
        row = _known(tx, batch)
        ended = _end(tx, _still_open(tx, batch), FileState.CANCELLED, None)
        if row.state == BatchState.RUNNING:
            stamp(tx, row, BatchState.CANCELLED)
        return ended

    def fail_open(self, crew: Crew, code: str, message: str) -> list[BatchId]:
        """End every open file of the crew as `failed`; returns the batches touched."""
        note = ErrorNote(code, message)
        return [batch for batch in self._batches_of(crew) if self._fail(batch, crew, note)]

    @reads
    def _batches_of(self, tx: Transaction, crew: Crew) -> list[BatchId]:
        chosen = select(files.c.batch_id).where(files.c.crew == crew, files.c.lane.in_(OPEN_LANES))
        return [BatchId(batch) for batch in tx.run(chosen.distinct()).scalars()]

    def _fail(self, batch: BatchId, crew: Crew, note: ErrorNote) -> int:
        return sum(self._fail_some(batch, w, crew, note) for w in self._windows(batch))

    @writes
    def _fail_some(
        self, tx: Transaction, batch: BatchId, window: range, crew: Crew, note: ErrorNote
    ) -> int:
        rows = [row for row in _locked(tx, batch, window, OPEN_STATES) if row.crew == crew]
        return _end(tx, rows, FileState.FAILED, note)

    def hand_over(self, batch: BatchId, crew: Crew) -> int:
        """Make `crew` attend to the batch's open files, and free every lease on them."""
        self._assign(batch, crew)
        return sum(self._hand_over_some(batch, w, crew) for w in self._windows(batch))

    @writes
    def _assign(self, tx: Transaction, batch: BatchId, crew: Crew) -> None:
        if _known(tx, batch).state == BatchState.RUNNING:
            run_again(tx, batch, crew)

    @writes
    def _hand_over_some(self, tx: Transaction, batch: BatchId, window: range, crew: Crew) -> int:
        rows = _locked(tx, batch, window, OPEN_STATES)
        if rows:
            tx.update(files, [_handed_over(tx, row, crew) for row in rows])
            _tell(tx, [row for row in rows if row.state == FileState.SUBMITTING])
        return len(rows)

    def retry(self, batch: BatchId, states: Collection[FileState], crew: Crew) -> int:
        """Open the batch's files in these terminal states again, for `crew`."""
        wanted = [state.value for state in states if _may_be_retried(state)]
        return sum(self._retry_some(batch, w, wanted, crew) for w in self._windows(batch))

    @writes
    def _retry_some(
        self, tx: Transaction, batch: BatchId, window: range, states: Sequence[str], crew: Crew
    ) -> int:
        _known(tx, batch)
        rows = _locked(tx, batch, window, states)
        if rows:
            _reopen(tx, rows, crew)
            run_again(tx, batch, crew)
        return len(rows)

    @reads
    def _windows(self, tx: Transaction, batch: BatchId) -> list[range]:
        """The batch's turns, a bounded number at a time.

        Turns are what an index finds at once. "Some files that are still open" would walk, again
        for each step, past all those that the steps before have ended.
        """
        row = tx.run(select(batches.c.next_turn).where(batches.c.id == batch)).one_or_none()
        if row is None:
            raise UnknownBatch(f"no batch {batch}")
        return [range(turn, turn + _AT_ONCE) for turn in range(0, row.next_turn, _AT_ONCE)]


# --- choosing ------------------------------------------------------------------------------------


def _known(tx: Transaction, batch: UUID) -> Row[Any]:
    row = lock_batch(tx, batch)
    if row is None:
        raise UnknownBatch(f"no batch {batch}")
    return row


def _locked(tx: Transaction, batch: UUID, window: range, states: Collection[str]) -> list[Row[Any]]:
    """The window's files in these states, locked."""
    chosen = select(files.c.id).where(
        files.c.batch_id == batch,
        files.c.turn.between(window.start, window.stop - 1),
        files.c.state.in_(states),
    )
    return _lock(tx, chosen, states)


def _still_open(tx: Transaction, batch: UUID) -> list[Row[Any]]:
    chosen = select(files.c.id).where(files.c.batch_id == batch, files.c.state.in_(OPEN_STATES))
    return _lock(tx, chosen, OPEN_STATES)


def _lock(tx: Transaction, chosen: Select[Any], states: Collection[str]) -> list[Row[Any]]:
    # They may have moved on before the lock was ours.
    rows = lock_files(tx, tx.run(chosen).scalars())
    return [row for row in rows.values() if row.state in states]


# --- writing -------------------------------------------------------------------------------------


def _end(
    tx: Transaction, rows: Sequence[Row[Any]], state: FileState, note: ErrorNote | None
) -> int:
    if not rows:
        return 0
    ended = {
        "state": state.value,
        "lane": None,
        "next_at": None,
        "finished_at": tx.now,
        "error_code": cut_code(note),
        "error_message": cut_message(note),
        **_FREE,
    }
    tx.update(files, [{"id": row.id, **ended} for row in rows])
    tx.insert(file_events, [event(row.id, tx.now, state, state, note) for row in rows])
    return len(rows)


def _handed_over(tx: Transaction, row: Row[Any], crew: Crew) -> dict[str, Any]:
    polling = row.state == FileState.POLLING
    return {
        "id": row.id,
        "crew": crew,
        "state": row.state if polling else FileState.QUEUED.value,
        "lane": POLL if polling else READY,
        "next_at": row.next_at if polling and row.lease_token is None else tx.now,
        **_FREE,
    }


def _tell(tx: Transaction, rows: Sequence[Row[Any]]) -> None:
    if rows:
        queued = FileState.QUEUED.value
        tx.insert(file_events, [event(row.id, tx.now, "handed_over", queued) for row in rows])


def _may_be_retried(state: FileState) -> bool:
    return state.is_terminal and may_become(state, FileState.QUEUED)


def _reopen(tx: Transaction, rows: Sequence[Row[Any]], crew: Crew) -> None:
    ledger = ledger_of(tx, [row.id for row in rows])
    opened = [_reopened(tx, row, crew, ledger.get(row.id, ())) for row in rows]
    tx.update(files, opened)
    tx.insert(file_events, [event(row["id"], tx.now, "retried", row["state"]) for row in opened])


def _reopened(
    tx: Transaction, row: Row[Any], crew: Crew, ledger: Sequence[Row[Any]]
) -> dict[str, Any]:
    sent = [upload for upload in ledger if upload.state != UploadState.WITHDRAWN]
    polling = bool(sent) and _still_worked_on(row, sent[-1])
    return {
        "id": row.id,
        "crew": crew,
        "state": (FileState.POLLING if polling else FileState.QUEUED).value,
        "lane": POLL if polling else READY,
        "next_at": tx.now,
        "chatflow_file_id": sent[-1].chatflow_file_id if polling else row.chatflow_file_id,
        "deadline_at": _fresh_deadline(tx, row) if polling else None,
        "parsed": bool(row.parsed) and polling,
        "attempts_used": 0,
        "failures": 0,
        "deaths": 0,
        "error_code": None,
        "error_message": None,
        "finished_at": None,
        **_FREE,
    }


def _still_worked_on(row: Row[Any], newest: Row[Any]) -> bool:
    """Whether the service may still be working on the newest upload that was sent."""
    # The file's status belongs to the upload that the file knows of: one that was accepted after
    # the file had ended has not been asked about.
    settled = row.chatflow_file_id == newest.chatflow_file_id and row.service_status in _SETTLED
    may_poll = may_become(FileState(row.state), FileState.POLLING)
    return newest.state == UploadState.ACCEPTED and not settled and may_poll


def _fresh_deadline(tx: Transaction, row: Row[Any]) -> datetime:
    # A file that had ended when its upload was accepted has never had one.
    return tx.after(row.deadline_seconds or _USUAL_DEADLINE)
