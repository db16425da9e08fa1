"""Handing batches and files in, and finishing batches."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID, uuid4, uuid5

from sqlalchemy import Row, Select, exists, func, select, update

from worker.adapters.database.rows import (
    OPEN_STATES,
    among,
    chunks,
    inserted,
    lock_batch,
    open_files,
)
from worker.adapters.database.status import status_of
from worker.adapters.database.tables import READY, batch_parts, batches, files, outbox
from worker.adapters.database.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.types import clean, clean_or_none
from worker.core.lifecycle import BatchState, FileState
from worker.core.model import BatchId, FileId, NewBatch
from worker.core.report import finished_event
from worker.errors import UnknownBatch

_AT_ONCE = 2000
_KEEP = "leave"


def file_id(batch: BatchId, source: str) -> FileId:
    """The id that this source has in this batch, however often it is added."""
    return FileId(uuid5(batch, clean(source)))


class BatchStore(Repository):
    """Batches from their creation to their end."""

    @writes
    def create_batch(self, tx: Transaction, batch: NewBatch) -> bool:
        """Insert the batch unless one with its id exists; True when it is new."""
        return inserted(tx, batches, _new_batch(tx, batch))

    def add_files(self, batch: BatchId, sources: Sequence[str]) -> int:
        """Insert the sources that the batch does not have yet, as `queued` and due at once."""
        return sum(self._add_some(batch, part) for part in chunks(sources, _AT_ONCE))

    @writes
    def _add_some(self, tx: Transaction, batch: BatchId, sources: Sequence[str]) -> int:
        row = _known(tx, batch)
        if row.state == BatchState.CANCELLED:
            return 0
        new = _new_sources(tx, batch, sources)
        if new:
            tx.insert(files, [_new_file(tx, row, row.next_turn + n, *f) for n, f in enumerate(new)])
            # A finished batch that gains a file runs again.
            _change(
                tx,
                batch,
                next_turn=row.next_turn + len(new),
                state=BatchState.RUNNING.value,
                finished_at=None,
            )
        return len(new)

    @writes
    def seal(self, tx: Transaction, batch: BatchId) -> None:
        """All files have been handed in: from now on the batch may finish."""
        _seal(tx, _known(tx, batch))

    @writes
    def record_part(self, tx: Transaction, batch: BatchId, part: int, parts: int) -> None:
        """Note that part `part` of `parts` was registered; seals the batch with the last one."""
        row = _known(tx, batch)
        values = {"batch_id": batch, "part": part, "parts": parts}
        inserted(tx, batch_parts, values)
        counted = select(func.count()).where(batch_parts.c.batch_id == batch)
        if tx.run(counted).scalar_one() >= parts:
            _seal(tx, row)

    def finish(self, batches: Collection[BatchId]) -> list[BatchId]:
        """Stamp those of the batches that are sealed and have no open file."""
        return [batch for batch in sorted(set(batches)) if self._finish(batch)]

    @writes
    def _finish(self, tx: Transaction, batch: BatchId) -> bool:
        # Whoever comes second waits for the lock and then sees the stamp; whoever recorded the
        # last file counts after that, so that two who each ended one can't both see an open one.
        row = lock_batch(tx, batch)
        if row is None or row.state != BatchState.RUNNING or row.sealed_at is None:
            return False
        if open_files(tx, batch):
            return False
        stamp(tx, row, BatchState.FINISHED)
        return True

    @reads
    def unfinished(self, tx: Transaction) -> list[BatchId]:
        """Running, sealed batches without an open file, for the sweep."""
        is_open = exists().where(files.c.batch_id == batches.c.id, files.c.state.in_(OPEN_STATES))
        ended = select(batches.c.id).where(
            batches.c.state == BatchState.RUNNING.value, batches.c.sealed_at.is_not(None), ~is_open
        )
        return [BatchId(row.id) for row in tx.run(ended.order_by(batches.c.created_at))]


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


def stamp(tx: Transaction, row: Row[Any], state: BatchState) -> None:
    """End the batch, which is locked, and put the notification it asks for into the outbox."""
    _change(tx, row.id, state=state.value, finished_at=tx.now)
    if row.notify is not None:
        payload = finished_event(status_of(tx, row.id), tx.now)
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
    tx: Transaction, batch: Row[Any], turn: int, file: FileId, source: str
) -> dict[str, Any]:
    rule = batch.after_rule
    return {
        "id": file,
        "batch_id": batch.id,
        "turn": turn,
        "crew": batch.crew,
        "source": source,
        "name": source.rstrip("/").rpartition("/")[2] or source,
        "state": FileState.QUEUED.value,
        "lane": READY,
        "next_at": tx.now,
        "created_at": tx.now,
        "after_rule": None if rule == _KEEP else rule,
    }
