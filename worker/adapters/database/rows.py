"""Helpers that several parts of the store share: finding, locking and describing rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Row,
    Select,
    Table,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import Insert

from worker.adapters.database.engine.engines import Kind
from worker.adapters.database.engine.failures import is_duplicate
from worker.adapters.database.engine.transaction import Transaction
from worker.adapters.database.engine.types import clean_or_none, utcnow
from worker.adapters.database.tables import (
    CODE_LIMIT,
    LATER,
    MESSAGE_LIMIT,
    POLL,
    READY,
    batches,
    files,
    uploads,
)
from worker.core.ledger import Upload
from worker.core.lifecycle import FileState
from worker.core.model.files import ErrorNote, UploadState
from worker.core.model.ids import UploadId

T = TypeVar("T")

OPEN_STATES = tuple(state.value for state in FileState if not state.is_terminal)
OPEN_LANES = (READY, LATER, POLL)


def among(kind: Kind, column: Column[Any], name: str) -> ColumnElement[bool]:
    """The column is one of the values of the parameter `name`, a list.

    PostgreSQL takes the list as one array, so that the statement's text, and with it the
    server's prepared plan, is the same for any number of values.
    """
    if kind == "postgresql":
        return column == any_(bindparam(name, type_=ARRAY(column.type)))
    return column.in_(bindparam(name, expanding=True))


def by_primary_key(statement: Select[Any]) -> Select[Any]:
    """Keep MariaDB from scanning the table, which would lock every row that it passes."""
    return statement.with_hint(files, "FORCE INDEX (PRIMARY)", "mysql").with_hint(
        files, "FORCE INDEX (PRIMARY)", "mariadb"
    )


def inserted(tx: Transaction, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless its key exists; whether it was inserted."""
    if tx.kind == "mariadb":
        return _inserted_in_mariadb(tx, table, values)
    statement = _insert_ignoring(tx.kind, table).execution_options(preserve_rowcount=True)
    return tx.run(statement, values).rowcount == 1


def _inserted_in_mariadb(tx: Transaction, table: Table, values: Mapping[str, Any]) -> bool:
    # Not IGNORE, which also cuts what is too long and takes NULL for "". A key that exists ends
    # the statement alone; the transaction goes on.
    try:
        tx.run(table.insert(), values)
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
        return False
    return True


@cache
def _insert_ignoring(kind: Kind, table: Table) -> Insert:
    if kind == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


FENCE = (files.c.id, files.c.state, files.c.lease_token)
"""What tells whether a file is still held."""


@cache
def _lock_files(kind: Kind, columns: tuple[Column[Any], ...]) -> Select[Any]:
    chosen = select(utcnow().label("now"), *columns)
    by_id = chosen.where(among(kind, files.c.id, "ids")).order_by(files.c.id)
    return by_primary_key(by_id).with_for_update()


def lock_files(
    tx: Transaction, ids: Iterable[UUID], columns: tuple[Column[Any], ...] = tuple(files.c)
) -> dict[UUID, Row[Any]]:
    """Lock the files in the order of their ids, as everybody does, and read them and the clock.

    Whoever writes a file, or its rows of the ledger, holds this lock. Reading no more columns
    than are needed (`id` is) costs less where every file passes.
    """
    wanted = list(set(ids))
    if not wanted:
        return {}
    rows = tx.run(_lock_files(tx.kind, columns), {"ids": wanted}).all()
    if rows:
        tx.looked_at(rows[-1].now)
    return {row.id: row for row in rows}


_UPLOAD_FIELDS = (
    "file_id id attempt state lease_token chatflow_file_id sent_at category size"  # as in `Upload`
)
_UPLOAD = [uploads.c[name] for name in _UPLOAD_FIELDS.split()]


@cache
def _ledger(kind: Kind) -> Select[Any]:
    chosen = select(*_UPLOAD).where(among(kind, uploads.c.file_id, "ids"))
    return chosen.order_by(uploads.c.file_id, uploads.c.attempt)


def _upload(row: Row[Any]) -> Upload:
    _file, key, attempt, state, *rest = tuple(row)
    return Upload(UploadId(key), attempt, UploadState(state), *rest)


def ledger_of(tx: Transaction, ids: Collection[UUID]) -> dict[UUID, list[Upload]]:
    """All uploads of these files, the oldest first."""
    found: dict[UUID, list[Upload]] = {}
    if ids:
        for row in tx.run(_ledger(tx.kind), {"ids": list(ids)}).all():
            found.setdefault(row.file_id, []).append(_upload(row))
    return found


_BATCH = select(batches).where(batches.c.id == bindparam("id")).with_for_update()


def lock_batch(tx: Transaction, batch: UUID) -> Row[Any] | None:
    """Lock a batch; always before any of its files."""
    return tx.run(_BATCH, {"id": batch}).one_or_none()


def open_files(tx: Transaction, batch: UUID) -> int:
    """How many files of the batch are not terminal."""
    counted = select(func.count()).where(files.c.batch_id == batch, files.c.state.in_(OPEN_STATES))
    return int(tx.run(counted).scalar_one())


def cut_code(error: ErrorNote | None) -> str | None:
    """The error's code as its column can hold it."""
    return None if error is None else clean_or_none(str(error.code), CODE_LIMIT)


def cut_message(error: ErrorNote | None) -> str | None:
    """The error's words as their column can hold them."""
    return None if error is None else clean_or_none(error.message, MESSAGE_LIMIT)
