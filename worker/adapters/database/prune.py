"""Removing what is over and old, in small transactions, beside workers that work.

A batch goes from its first turn on, so what an interrupted prune leaves is the end of it, and the
next prune goes on there. Each transaction locks the batch and looks again whether it is over: one
that was opened again meanwhile stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, select, update

from worker.adapters.database.engine.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.rows import among, lock_batch
from worker.adapters.database.tables import (
    batch_parts,
    batches,
    dialogs,
    file_events,
    files,
    outbox,
    results,
    uploads,
)
from worker.core.lifecycle import BatchState
from worker.core.model.ids import BatchId
from worker.core.seen import Prunable

AT_ONCE = 500
"""Files that one transaction removes."""

_EMPTY: dict[str, Any] = {
    "parse_content": None,
    "parse_segments": None,
    "llm_content": None,
    "content_size": 0,
}


class PruneStore(Repository):
    """Removing old batches, or only what was extracted from their files."""

    @reads
    def prunable(
        self, tx: Transaction, older_than: float, *, contents_only: bool = False
    ) -> list[Prunable]:
        """The batches that ended at least so many seconds ago; see `ports.batches.Upkeep`."""
        number = select(func.count()).where(files.c.batch_id == batches.c.id).scalar_subquery()
        chosen = select(batches, number.label("number")).where(*_over(tx, older_than))
        if contents_only:
            has_contents = exists().where(
                files.c.batch_id == batches.c.id,
                results.c.file_id == files.c.id,
                results.c.content_size > 0,
            )
            chosen = chosen.where(has_contents)
        return [
            Prunable(BatchId(row.id), row.external_key, row.finished_at, row.number)
            for row in tx.run(chosen.order_by(batches.c.finished_at, batches.c.id))
        ]

    def prune(self, batch: BatchId, older_than: float, *, contents_only: bool = False) -> int:
        """Remove the batch, or its contents; returns how many files it concerned."""
        removed, turn = 0, 0
        while True:
            done, turn = self._prune_some(batch, older_than, turn, contents_only)
            removed += done
            if turn < 0:
                return removed

    @writes
    def _prune_some(
        self,
        tx: Transaction,
        batch: BatchId,
        older_than: float,
        turn: int,
        contents_only: bool,  # noqa: FBT001 -- through `writes`, which passes on positions
    ) -> tuple[int, int]:
        """How many files it concerned, and the turn to go on from; -1 when it is done."""
        if lock_batch(tx, batch) is None or not _is_over(tx, batch, older_than):
            return 0, -1
        next_ones = (
            select(files.c.id, files.c.turn)
            .where(files.c.batch_id == batch, files.c.turn >= turn)
            .order_by(files.c.turn)
            .limit(AT_ONCE)
        )
        rows = tx.run(next_ones).all()
        ids = [row.id for row in rows]
        if contents_only:
            emptied = _empty(tx, ids) if ids else 0
            return emptied, rows[-1].turn + 1 if rows else -1
        if ids:
            _remove_files(tx, ids)
            return len(ids), rows[-1].turn + 1
        _remove_batch(tx, batch)
        return 0, -1


def _over(tx: Transaction, older_than: float) -> list[ColumnElement[bool]]:
    """Ended long enough ago, everybody told of it, and every file taken away that should be."""
    told = ~exists().where(outbox.c.batch_id == batches.c.id, outbox.c.next_at.is_not(None))
    tidy = ~exists().where(
        files.c.batch_id == batches.c.id,
        files.c.after_rule.is_not(None),
        files.c.state == "succeeded",
    )
    ended = batches.c.state != BatchState.RUNNING.value
    return [ended, batches.c.finished_at <= tx.after(-older_than), told, tidy]


def _is_over(tx: Transaction, batch: UUID, older_than: float) -> bool:
    this = select(batches.c.id).where(batches.c.id == batch, *_over(tx, older_than))
    return tx.run(this).first() is not None


def _empty(tx: Transaction, ids: Sequence[UUID]) -> int:
    these = (among(tx.kind, results.c.file_id, "ids"), results.c.content_size > 0)
    return tx.run(update(results).where(*these).values(**_EMPTY), {"ids": list(ids)}).rowcount


def _remove_files(tx: Transaction, ids: Sequence[UUID]) -> None:
    these = {"ids": list(ids)}
    used = select(uploads.c.dialog_id).where(among(tx.kind, uploads.c.file_id, "ids")).distinct()
    opened = list(tx.run(used, these).scalars())
    for table in (results, file_events, uploads):
        tx.run(delete(table).where(among(tx.kind, table.c.file_id, "ids")), these)
    tx.run(delete(files).where(among(tx.kind, files.c.id, "ids")), these)
    if opened:
        unused = ~exists().where(uploads.c.dialog_id == dialogs.c.id)
        gone = delete(dialogs).where(among(tx.kind, dialogs.c.id, "ids"), unused)
        tx.run(gone, {"ids": opened})


def _remove_batch(tx: Transaction, batch: UUID) -> None:
    tx.run(delete(outbox).where(outbox.c.batch_id == batch))
    tx.run(delete(batch_parts).where(batch_parts.c.batch_id == batch))
    tx.run(delete(batches).where(batches.c.id == batch))
