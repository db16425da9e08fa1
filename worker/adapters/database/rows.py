"""Helpers that several parts of the store share: finding, locking and describing rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
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
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from worker.adapters.database.engine import Kind
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
from worker.adapters.database.transaction import Transaction
from worker.adapters.database.types import clean_or_none, utcnow
from worker.core.lifecycle import FileState
from worker.core.model import ErrorNote

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
    statement = _insert_ignoring(tx.kind, table).execution_options(preserve_rowcount=True)
    return tx.run(statement, values).rowcount == 1


@cache
def _insert_ignoring(kind: Kind, table: Table) -> Insert:
    match kind:
        case "sqlite":
            return sqlite.insert(table).on_conflict_do_nothing()
        case "postgresql":
            return postgresql.insert(table).on_conflict_do_nothing()
        case "mariadb":
            return mysql.insert(table).prefix_with("IGNORE")


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


@cache
def _ledger(kind: Kind) -> Select[Any]:
    chosen = select(uploads).where(among(kind, uploads.c.file_id, "ids"))
    return chosen.order_by(uploads.c.file_id, uploads.c.attempt)


def ledger_of(tx: Transaction, ids: Collection[UUID]) -> dict[UUID, list[Row[Any]]]:
    """All uploads of these files, the oldest first."""
    found: dict[UUID, list[Row[Any]]] = {}
    if ids:
        for row in tx.run(_ledger(tx.kind), {"ids": list(ids)}).all():
            found.setdefault(row.file_id, []).append(row)
    return found


_BATCH = select(batches).where(batches.c.id == bindparam("id")).with_for_update()


def lock_batch(tx: Transaction, batch: UUID) -> Row[Any] | None:
    """Lock a batch; always before any of its files."""
    return tx.run(_BATCH, {"id": batch}).one_or_none()


def open_files(tx: Transaction, batch: UUID) -> int:
    """How many files of the batch are not terminal."""
    counted = select(func.count()).where(files.c.batch_id == batch, files.c.state.in_(OPEN_STATES))
    return int(tx.run(counted).scalar_one())


def event(
    file: UUID, at: datetime, name: str, state: str, error: ErrorNote | None = None
) -> dict[str, Any]:
    """A row of `file_events`."""
    return {
        "file_id": file,
        "at": at,
        "event": name[:CODE_LIMIT],
        "state": state,
        "code": cut_code(error),
        "message": cut_message(error),
    }


def cut_code(error: ErrorNote | None) -> str | None:
    """The error's code as its column can hold it."""
    return None if error is None else clean_or_none(error.code, CODE_LIMIT)


def cut_message(error: ErrorNote | None) -> str | None:
    """The error's words as their column can hold them."""
    return None if error is None else clean_or_none(error.message, MESSAGE_LIMIT)


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, a bounded piece at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
