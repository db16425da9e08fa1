"""Moving many files at once: cancel, fail, hand over, retry. In bounded transactions.

Each step locks the batch, if it changes it, and then some of its files in the order of their
ids. What a crash leaves undone, the same call does when it is repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select

from worker.adapters.database.batches import call_off, run_again, stamp
from worker.adapters.database.breakers import close_breakers
from worker.adapters.database.engine.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.moves import Moves, blame
from worker.adapters.database.rows import (
    OPEN_LANES,
    OPEN_STATES,
    ledger_of,
    lock_batch,
    lock_files,
)
from worker.adapters.database.tables import batches, files
from worker.core.ledger import Upload, still_worked_on
from worker.core.lifecycle import BatchState, FileEventName, FileState, may_reopen
from worker.core.model.files import ErrorNote, UploadState
from worker.core.model.ids import BatchId, Crew
from worker.core.seen import EVERY, Narrow
from worker.errors import UnknownBatch

_AT_ONCE = 1000
_USUAL_DEADLINE = 3600.0
_STILL_COMING = 120.0
"""Seconds for which the reply of an upload that was sent may still come."""


class InterventionStore(Repository):
    """What a user, or the end of a run, does to all files of a batch."""

    def cancel(self, batch: BatchId) -> int:
        """End every open file as `cancelled`, whoever holds it, and the batch with them."""
        self._call_off(batch)
        ended = sum(self._cancel_some(batch, window) for window in self._windows(batch))
        return ended + self._cancel_rest(batch)

    @writes
    def _call_off(self, tx: Transaction, batch: BatchId) -> None:
        """Before its files, so that nobody who finds them ended takes the batch for finished."""
        if _known(tx, batch).state == BatchState.RUNNING:
            call_off(tx, batch)

    @writes
    def _cancel_some(self, tx: Transaction, batch: BatchId, window: range) -> int:
        return _end(tx, _locked(tx, batch, window, OPEN_STATES), FileState.CANCELLED, None)

    @writes
    def _cancel_rest(self, tx: Transaction, batch: BatchId) -> int:
        """With the batch locked no file can be added any more: end what came in between."""
        row = _known(tx, batch)
        ended = _end(tx, _still_open(tx, batch), FileState.CANCELLED, None)
        if row.state == BatchState.CANCELLED and row.finished_at is None:
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
        _hand_over(tx, rows, crew)
        return len(rows)

    def retry(
        self,
        batch: BatchId,
        states: Collection[FileState],
        crew: Crew,
        narrow: Narrow = EVERY,
    ) -> int:
        """Open the batch's files in these terminal states again, for `crew`."""
        self._let_go(batch, narrow.category)
        wanted = [state.value for state in states if _may_be_retried(state)]
        return sum(self._retry_some(batch, w, wanted, crew, narrow) for w in self._windows(batch))

    @writes
    def _let_go(self, tx: Transaction, batch: BatchId, category: str | None) -> None:
        """Who retries says that the reason is gone for which files were held."""
        close_breakers(tx, _known(tx, batch).profile, category)

    @writes
    def _retry_some(
        self,
        tx: Transaction,
        batch: BatchId,
        window: range,
        states: Sequence[str],
        crew: Crew,
        narrow: Narrow,
    ) -> int:
        asked = _known(tx, batch).category
        rows = [
            row
            for row in _locked(tx, batch, window, states)
            if narrow.takes(row.error_code, row.category or asked, tx.since(row.finished_at))
        ]
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
    moves = Moves(tx)
    for row in rows:
        moves.end(row, state, note)
    moves.write()
    return len(rows)


def _hand_over(tx: Transaction, rows: Sequence[Row[Any]], crew: Crew) -> None:
    moves = Moves(tx)
    for row in rows:
        polling = row.state == FileState.POLLING
        name = FileEventName.HANDED_OVER if row.state == FileState.SUBMITTING else None
        state = FileState.POLLING if polling else FileState.QUEUED
        at = row.next_at if polling and row.lease_token is None else None
        moves.move(row, state, at, name=name, values={"crew": crew})
    moves.write()


def _may_be_retried(state: FileState) -> bool:
    return may_reopen(state, FileState.QUEUED)


def _reopen(tx: Transaction, rows: Sequence[Row[Any]], crew: Crew) -> None:
    ledger = ledger_of(tx, [row.id for row in rows])
    moves = Moves(tx)
    for row in rows:
        _reopen_one(moves, tx, row, crew, ledger.get(row.id, ()))
    moves.write()


def _reopen_one(
    moves: Moves, tx: Transaction, row: Row[Any], crew: Crew, ledger: Sequence[Upload]
) -> None:
    ended, known = FileState(row.state), row.chatflow_file_id
    upload = still_worked_on(ledger, ended, known, row.service_status)
    polling = upload is not None
    values = {
        "crew": crew,
        "chatflow_file_id": known if upload is None else upload.chatflow_file_id,
        "deadline_at": _fresh_deadline(tx, row) if polling else None,
        "parsed": bool(row.parsed) and polling,
        "attempts_used": 0,
        "failures": 0,
        "deaths": 0,
        "waits_for": None,
        **blame(None),
    }
    if polling:
        moves.retry(row, FileState.POLLING, values)
    else:
        moves.retry(row, FileState.QUEUED, values, _not_before(ledger))


def _not_before(ledger: Sequence[Upload]) -> datetime | None:
    """When to submit a file whose newest upload may still be under way, cancelled or not.

    Its worker can't be called back, and records the reply when it comes.
    """
    newest = ledger[-1] if ledger else None
    if newest is None or newest.state is not UploadState.SENT or newest.sent_at is None:
        return None
    return newest.sent_at + timedelta(seconds=_STILL_COMING)


def _fresh_deadline(tx: Transaction, row: Row[Any]) -> datetime:
    # A file that had ended when its upload was accepted has never had one.
    return tx.after(row.deadline_seconds or _USUAL_DEADLINE)
