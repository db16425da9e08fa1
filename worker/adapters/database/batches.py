"""Handing batches and files in, and finishing batches."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID, uuid4, uuid5

from sqlalchemy import Row, Select, exists, func, select, update

from worker.adapters.database.details import details_of
from worker.adapters.database.engine.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.engine.types import clean, clean_or_none
from worker.adapters.database.moves import Moves, first_place
from worker.adapters.database.rows import (
    OPEN_STATES,
    among,
    inserted,
    lock_batch,
    lock_files,
    open_files,
)
from worker.adapters.database.status import status_of
from worker.adapters.database.tables import (
    MESSAGE_LIMIT,
    batch_parts,
    batches,
    files,
    outbox,
)
from worker.core.addresses import file_name
from worker.core.lifecycle import BatchState, FileState
from worker.core.model.batches import NewBatch
from worker.core.model.ids import BatchId, Crew, FileId
from worker.core.report import finished_event
from worker.errors import UnknownBatch

_KEEP = "leave"


def file_id(batch: BatchId, source: str) -> FileId:
    """The id that this source has in this batch, however often it is added."""
    return FileId(uuid5(batch, clean(source)))


# Running, or cancelled and still ending or with files that came later: all others have their stamp.
_UNFINISHED = (
    select(batches.c.id)
    .where(
        batches.c.finished_at.is_(None),
        batches.c.sealed_at.is_not(None),
        ~exists().where(files.c.batch_id == batches.c.id, files.c.state.in_(OPEN_STATES)),
    )
    .order_by(batches.c.created_at)
)


class BatchStore(Repository):
    """Batches from their creation to their end."""

    @writes
    def create_batch(self, tx: Transaction, batch: NewBatch) -> bool:
        """Insert the batch unless one with its id exists; True when it is new."""
        new = _new_batch(tx, batch)
        if inserted(tx, batches, new):
            return True
        row = _known(tx, batch.id)
        if row.state == BatchState.REJECTED:
            begun = {key: value for key, value in new.items() if key != "id"}
            _change(tx, batch.id, **begun, reason=None, sealed_at=None, finished_at=None)
            return True
        return False

    @writes
    def reject(self, tx: Transaction, batch: NewBatch, reason: str) -> bool:
        """Insert the batch as `rejected`, unless one with its id exists; True when it is new."""
        ended = {"sealed_at": tx.now, "reason": clean(reason, MESSAGE_LIMIT)}
        if not inserted(tx, batches, {**_new_batch(tx, batch), **ended}):
            return False
        stamp(tx, _known(tx, batch.id), BatchState.REJECTED)
        return True

    @writes
    def add_files(
        self,
        tx: Transaction,
        batch: BatchId,
        sources: Sequence[str],
        crew: Crew | None = None,
        *,
        force: bool = False,
    ) -> int:
        """Insert the sources that the batch does not have yet, as `queued` and due at once."""
        row = _known(tx, batch)
        new = _new_sources(tx, batch, sources)
        if not new:
            return 0
        cancelled = row.state == BatchState.CANCELLED
        added = [
            _new_file(tx, row, row.next_turn + turn, crew or row.crew, *file) | {"forced": force}
            for turn, file in enumerate(new)
        ]
        tx.insert(files, added)
        if cancelled:
            _cancel(tx, [file for file, _ in new])
        # A finished batch that gains a file runs again.
        state = BatchState.CANCELLED if cancelled else BatchState.RUNNING
        _change(
            tx,
            batch,
            crew=crew or row.crew,
            next_turn=row.next_turn + len(new),
            state=state.value,
            finished_at=None,
        )
        return len(new)

    @writes
    def seal(self, tx: Transaction, batch: BatchId) -> None:
        """All files have been handed in: from now on the batch may finish."""
        _seal(tx, _known(tx, batch))

    @writes
    def record_part(
        self, tx: Transaction, batch: BatchId, part: int, parts: int, hand_in: str = ""
    ) -> None:
        """Note that part `part` of `parts` was registered; seals the batch with the last one."""
        row = _known(tx, batch)
        # A sender that names no hand-in is told apart from its next attempt by their lengths.
        key = hand_in or f"of {parts}"
        values = {"batch_id": batch, "part": part, "parts": parts, "hand_in": key}
        new = inserted(tx, batch_parts, values)
        keys = [key] if hand_in else [key, ""]  # "": noted by a worker of an older version
        same = (batch_parts.c.batch_id == batch, batch_parts.c.hand_in.in_(keys))
        counted = select(func.count(batch_parts.c.part.distinct())).where(
            *same, batch_parts.c.parts == parts
        )
        if tx.run(counted).scalar_one() >= parts:
            _seal(tx, row)
        elif new:
            _change(tx, batch, sealed_at=None)

    def finish(self, batches: Collection[BatchId]) -> list[BatchId]:
        """Stamp those of the batches that are sealed and have no open file."""
        return [batch for batch in sorted(set(batches)) if self._finish(batch)]

    @writes
    def _finish(self, tx: Transaction, batch: BatchId) -> bool:
        # Whoever comes second waits for the lock and then sees the stamp; whoever recorded the
        # last file counts after that, so that two who each ended one can't both see an open one.
        row = lock_batch(tx, batch)
        if row is None or row.finished_at is not None or row.sealed_at is None:
            return False
        if open_files(tx, batch):
            return False
        cancelled = row.state == BatchState.CANCELLED
        stamp(tx, row, BatchState.CANCELLED if cancelled else BatchState.FINISHED)
        return True

    @reads
    def unfinished(self, tx: Transaction) -> list[BatchId]:
        """Sealed batches without an open file or a stamp, for the sweep."""
        return [BatchId(batch) for batch in tx.run(_UNFINISHED).scalars()]


def _new_batch(tx: Transaction, batch: NewBatch) -> dict[str, Any]:
    return {
        "id": batch.id,
        "external_key": clean_or_none(batch.external_key),
        "profile": batch.profile,
        "crew": batch.crew,
        "category": clean_or_none(batch.options.category),
        "inputs": clean_or_none(batch.options.inputs),
        "notify": None if batch.notify is None else clean(json.dumps(batch.notify)),
        "after_rule": clean(batch.after),
        "state": BatchState.RUNNING.value,
        "next_turn": 0,
        "created_at": tx.now,
    }


def _cancel(tx: Transaction, added: Sequence[FileId]) -> None:
    """What is handed in to a cancelled batch is cancelled with it, and waits for a retry."""
    moves = Moves(tx)
    for row in lock_files(tx, added).values():
        moves.end(row, FileState.CANCELLED, None)
    moves.write()


def _known(tx: Transaction, batch: UUID) -> Row[Any]:
    row = lock_batch(tx, batch)
    if row is None:
        raise UnknownBatch(f"no batch {batch}")
    return row


def _change(tx: Transaction, batch: UUID, **values: Any) -> None:
    tx.run(update(batches).where(batches.c.id == batch).values(**values))


def _seal(tx: Transaction, row: Row[Any]) -> None:
    if row.sealed_at is None:
        _change(tx, row.id, sealed_at=tx.now)


def run_again(tx: Transaction, batch: UUID, crew: str) -> None:
    """The batch, which is locked, runs (again), and this crew attends to it."""
    _change(tx, batch, crew=crew, state=BatchState.RUNNING.value, finished_at=None)


def call_off(tx: Transaction, batch: UUID) -> None:
    """The batch, which is locked, is cancelled; it is stamped when its files have ended."""
    _change(tx, batch, state=BatchState.CANCELLED.value)


def stamp(tx: Transaction, row: Row[Any], state: BatchState) -> None:
    """End the batch, which is locked, and put the notification it asks for into the outbox."""
    _change(tx, row.id, state=state.value, finished_at=tx.now)
    if row.notify is not None:
        status = status_of(tx, row.id)
        payload = finished_event(status, details_of(tx, status), tx.now)
        tx.run(outbox.insert(), _notification(tx, row, payload))


def _notification(tx: Transaction, row: Row[Any], payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "batch_id": row.id,
        "message_id": f"msg_{uuid4().hex}",
        "target": row.notify,
        "payload": json.dumps(payload, ensure_ascii=False),
        "attempts": 0,
        "created_at": tx.now,
        "next_at": tx.now,
    }


# --- files ---------------------------------------------------------------------------------------


def _present(tx: Transaction) -> Select[Any]:
    return select(files.c.id).where(among(tx.kind, files.c.id, "ids"))


def _new_sources(
    tx: Transaction, batch: BatchId, sources: Sequence[str]
) -> list[tuple[FileId, str]]:
    wanted = {file_id(batch, source): source for source in sources}
    present = set(tx.run(_present(tx), {"ids": list(wanted)}).scalars()) if wanted else set()
    return [(file, source) for file, source in wanted.items() if file not in present]


def _new_file(
    tx: Transaction, batch: Row[Any], turn: int, crew: str, file: FileId, source: str
) -> dict[str, Any]:
    rule = batch.after_rule
    return {
        "id": file,
        "batch_id": batch.id,
        "turn": turn,
        "crew": crew,
        "source": source,
        "name": file_name(source),
        **first_place(tx.now),
        "created_at": tx.now,
        "after_rule": None if rule == _KEEP else rule,
    }
