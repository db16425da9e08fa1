"""Drivers' and SQLAlchemy's exceptions, mapped into our tree in one place."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.errors import DatabaseBehind, IngestError, StoreUnavailable

CURE = "run `chatflow-ingest db upgrade`"

_CONFLICTS: frozenset[str | int] = frozenset(
    {"40001", "40P01", "55P03"}  # PostgreSQL: serialization, deadlock, lock not available
    | {1213, 1205, 1020}  # MariaDB: deadlock, lock wait timeout, record changed since
)
_NO_TABLE: frozenset[str | int] = frozenset({"42P01", "42703", 1146, 1054})


def _code(error: BaseException | None) -> str | int | None:
    """MariaDB's own number, which says more than its SQLSTATE, or PostgreSQL's SQLSTATE."""
    first = next(iter(getattr(error, "args", ())), None)
    return first if isinstance(first, int) else getattr(error, "sqlstate", None)


def is_conflict(error: BaseException) -> bool:
    """Whether the transaction lost against another one and would go well if run again."""
    return isinstance(error, DBAPIError) and _code(error.orig) in _CONFLICTS


def _lacks_tables(error: DBAPIError) -> bool:
    words = str(error.orig)
    return _code(error.orig) in _NO_TABLE or "no such table" in words or "no such column" in words


def translated(error: SQLAlchemyError) -> IngestError | None:
    """Our error for one of SQLAlchemy's; None for what only a mistake of ours can cause."""
    if isinstance(error, PoolTimeout):
        return StoreUnavailable("no database connection became free in time")
    if not isinstance(error, DBAPIError):
        return None
    if _lacks_tables(error):
        return DatabaseBehind(f"the database lacks tables of this version: {CURE}")
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return StoreUnavailable(f"the database does not answer: {_first_line(error)}")
    return None


def _first_line(error: DBAPIError) -> str:
    words = str(error.orig).strip().partition("\n")[0]
    return words[:300] or type(error.orig).__name__
