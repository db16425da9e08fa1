"""Finding the batch or the file that somebody means."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select

from worker.adapters.database.engine.transaction import Repository, Transaction, reads
from worker.adapters.database.engine.types import clean
from worker.adapters.database.tables import batches, files
from worker.core.lifecycle import FileState
from worker.core.model.ids import BatchId, FileId
from worker.core.naming import LATEST, id_range
from worker.core.seen import NamedBatch, NamedFile

_BATCHES = select(
    batches.c.id, batches.c.external_key, batches.c.profile, batches.c.created_at
).order_by(batches.c.created_at.desc(), batches.c.id)
_FILES = select(files.c.id, files.c.batch_id, files.c.source, files.c.state)


class NamingStore(Repository):
    """Batches and files by the names that people give them."""

    @reads
    def batches_named(self, tx: Transaction, name: str, limit: int = 10) -> list[NamedBatch]:
        """The batches that this may mean, the newest first; see `ports.batches.Naming`."""
        ids = id_range(name)
        whole = ids is not None and ids[0] == ids[1]
        if whole and (found := _chosen(tx, _within(batches.c.id, ids), limit)):
            return found
        if name == LATEST:
            return _found(tx, _BATCHES.limit(1))
        if keyed := _chosen(tx, batches.c.external_key == clean(name), limit):
            return keyed
        return _chosen(tx, _within(batches.c.id, ids), limit) if ids and not whole else []

    @reads
    def files_named(
        self, tx: Transaction, name: str, batch: BatchId | None = None, limit: int = 10
    ) -> list[NamedFile]:
        """The files that this may mean; see `ports.batches.Naming`."""
        ids = id_range(name)
        chosen: list[ColumnElement[bool]] = [] if ids is None else [_within(files.c.id, ids)]
        if batch is not None:
            wanted = clean(name)
            named = or_(files.c.name == wanted, files.c.source == wanted)
            if found := _files(tx, limit, files.c.batch_id == batch, named):
                return found
            chosen.append(files.c.batch_id == batch)
        return [] if ids is None else _files(tx, limit, *chosen)


def _within(column: Any, ids: Any) -> ColumnElement[bool]:
    first, last = ids
    whole: ColumnElement[bool] = column == first if first == last else column.between(first, last)
    return whole


def _chosen(tx: Transaction, condition: ColumnElement[bool], limit: int) -> list[NamedBatch]:
    return _found(tx, _BATCHES.where(condition).limit(limit))


def _found(tx: Transaction, statement: Select[Any]) -> list[NamedBatch]:
    return [
        NamedBatch(BatchId(row.id), row.external_key, row.profile, row.created_at)
        for row in tx.run(statement)
    ]


def _files(tx: Transaction, limit: int, *conditions: ColumnElement[bool]) -> list[NamedFile]:
    chosen = _FILES.where(*conditions).order_by(files.c.id).limit(limit)
    return [
        NamedFile(FileId(row.id), BatchId(row.batch_id), row.source, FileState(row.state))
        for row in tx.run(chosen)
    ]
