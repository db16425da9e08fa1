"""A store whose clock is ours, and its rows as the model has them."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import event, select

from tests.contract.model.batches import BatchModel
from tests.contract.model.records import ModelBatch, ModelFile, ModelUpload
from worker.adapters.database import SqlStore
from worker.adapters.database.engine.transaction import Transaction
from worker.adapters.database.tables import batches, files, metadata, outbox, results, uploads
from worker.core.audit import AuditedBatch, batch_faults, file_faults
from worker.core.lifecycle import FileState
from worker.core.model.ids import FileId

START = datetime(2026, 11, 24, 1, tzinfo=UTC)

# As `engine.types` asks each database for the time, and how it takes a moment instead.
_ASKED = re.compile(
    r"clock_timestamp\(\)|UTC_TIMESTAMP\(6\)|strftime\('%Y-%m-%d %H:%M:%f000', 'now'\)"
)
_TOLD = {
    "postgresql": "'{:%Y-%m-%d %H:%M:%S.%f}+00'::timestamptz",
    "mariadb": "CAST('{:%Y-%m-%d %H:%M:%S.%f}' AS DATETIME(6))",
    "sqlite": "'{:%Y-%m-%d %H:%M:%S.%f}'",
}
_FILE = [
    field.name
    for field in fields(ModelFile)
    if field.name not in {"ledger", "result", "has_result"}
]
_UPLOAD = [field.name for field in fields(ModelUpload)]
_BATCH = ["id", "crew", "category", "created_at", "state", "next_turn", "finished_at", "reason"]


class World:
    """The store of one test, emptied before each story that is told in it."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.now = START
        self._database = store._database
        event.listen(
            self._database.engine, "before_cursor_execute", self._tell_the_time, retval=True
        )

    def _tell_the_time(
        self, _conn: Any, _cursor: Any, statement: str, parameters: Any, _ctx: Any, _many: bool
    ) -> tuple[str, Any]:
        # A function, for the replacement of a moment has backslashes for no database.
        told = _TOLD[self._database.kind].format(self.now)
        return _ASKED.sub(lambda _: told, statement), parameters

    def empty(self) -> None:
        def delete(tx: Transaction) -> None:
            for table in reversed(metadata.sorted_tables):
                tx.run(table.delete())

        self._database.write(delete)
        self.store._known_options.clear()
        self._database.holder = None
        self.now = START

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def differences(self, model: BatchModel) -> list[str]:
        """What is not as the model has it."""

        def look(tx: Transaction) -> list[str]:
            return [*_batches(tx, model), *_files(tx, model), *_uploads(tx, model)]

        return self._database.look(look)

    def states(self) -> dict[FileId, FileState]:
        """Where each file stands."""
        chosen = select(files.c.id, files.c.state)
        rows = self._database.read(lambda tx: tx.run(chosen).all())
        return {FileId(row.id): FileState(row.state) for row in rows}

    def reuse_of(self, file: FileId) -> tuple[Any, Any]:
        """Whose result it has, and what it waits for."""
        chosen = select(files.c.reused_from, files.c.waits_for).where(files.c.id == file)
        row = self._database.read(lambda tx: tx.run(chosen).one())
        return row.reused_from, row.waits_for

    def notifications(self) -> list[int]:
        """The ids in the outbox, the oldest first."""
        chosen = select(outbox.c.id).order_by(outbox.c.id)
        return list(self._database.read(lambda tx: tx.run(chosen).scalars().all()))

    def faults(self) -> list[str]:
        """What the store's own audit finds."""
        found = []
        for each in self.store.audited():
            faults = batch_faults(each) if isinstance(each, AuditedBatch) else file_faults(each)
            found += [f"{getattr(each, 'source', each.batch_id)}: {fault}" for fault in faults]
        return found


def _batches(tx: Transaction, model: BatchModel) -> list[str]:
    rows = {row.id: row for row in tx.run(select(batches))}
    found = _missing("batch", rows, model.batches)
    for key, batch in model.batches.items():
        if key in rows:
            found += _unequal("batch", rows[key], batch, _BATCH)
            if (rows[key].sealed_at is not None) is not batch.sealed:
                found.append(f"batch {key} sealed_at: {rows[key].sealed_at} for {batch.sealed}")
    return found


def _files(tx: Transaction, model: BatchModel) -> list[str]:
    rows = {row.id: row for row in tx.run(select(files))}
    full = {row.file_id: row.parse_content for row in tx.run(select(results))}
    found = _missing("file", rows, model.files)
    for key, file in model.files.items():
        if key in rows:
            found += _unequal("file", rows[key], file, _FILE)
            if (key in full, full.get(key)) != (file.has_result, file.result):
                found.append(f"file {key} result: {full.get(key)!r} for {file.result!r}")
    return found


def _uploads(tx: Transaction, model: BatchModel) -> list[str]:
    rows = {row.id: row for row in tx.run(select(uploads))}
    known = {upload.id: upload for file in model.files.values() for upload in file.ledger}
    found = _missing("upload", rows, known)
    for key, upload in known.items():
        if key in rows:
            found += _unequal("upload", rows[key], upload, _UPLOAD)
    return found


def _missing(what: str, rows: Any, known: Any) -> list[str]:
    lost = [f"{what} {key} is not there" for key in known if key not in rows]
    return lost + [f"{what} {key} is there" for key in rows if key not in known]


def _unequal(
    what: str, row: Any, known: ModelFile | ModelBatch | ModelUpload, names: list[str]
) -> list[str]:
    pairs = [(name, getattr(row, name), getattr(known, name)) for name in names]
    return [
        f"{what} {known.id} {name}: {is_!r} for {should!r}"
        for name, is_, should in pairs
        if is_ != should
    ]
