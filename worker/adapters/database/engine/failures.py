"""Drivers' and SQLAlchemy's exceptions, mapped into our tree in one place.

Whatever a driver raises belongs to one class, and the class says what happens next:

=============  ================================================================================
``CONFLICT``   lost against another transaction: the same again goes well (`transaction.py`)
``WAIT``       the server is away, full, read-only or being mended: wait, then the same again
``BEHIND``     tables or columns of this version are missing: migrate
``UNUSABLE``   the file is no database, or a broken one: nothing but the operator can mend it
``OURS``       a mistake in a statement or a value: logged, the one item given up, all else goes on
=============  ================================================================================
"""

from __future__ import annotations

from enum import Enum

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from worker.errors import (
    ConfigurationError,
    DatabaseBehind,
    IngestError,
    StoreFault,
    StoreUnavailable,
)

CURE = "run `chatflow-ingest db upgrade`"


class Failure(Enum):
    """What a database's error means for the caller."""

    CONFLICT = "conflict"
    WAIT = "wait"
    BEHIND = "behind"
    UNUSABLE = "unusable"
    OURS = "ours"


# PostgreSQL: SQLSTATEs, and behind them the classes that their first two characters name.
_STATES: dict[str, Failure] = {
    "25006": Failure.WAIT,  # read-only: a standby, or a guard against a full disk
    "25P03": Failure.WAIT,  # ended for lying idle: the process was frozen
    "25P04": Failure.WAIT,  # took too long as a whole
    "26000": Failure.WAIT,  # a prepared statement of another connection: see _POOLED
    "40001": Failure.CONFLICT,  # serialization
    "40002": Failure.OURS,  # a deferred constraint
    "40003": Failure.WAIT,  # nobody knows whether it was committed
    "40P01": Failure.CONFLICT,  # deadlock
    "42501": Failure.WAIT,  # a right is missing until it is granted
    "42703": Failure.BEHIND,
    "42P01": Failure.BEHIND,
    "42P05": Failure.WAIT,
    "55P03": Failure.CONFLICT,  # no lock in time
}
_STATE_CLASSES: dict[str, Failure] = {
    "08": Failure.WAIT,  # connection
    "28": Failure.WAIT,  # log-in refused: a password that is being changed
    "3D": Failure.WAIT,  # no such database
    "40": Failure.CONFLICT,  # rolled back
    "53": Failure.WAIT,  # disk, memory or connections used up
    "55": Failure.WAIT,  # not in the state for it
    "57": Failure.WAIT,  # the operator's doing: shutdown, starting up, query cancelled
    "58": Failure.WAIT,  # the system's error
    "72": Failure.CONFLICT,  # snapshot too old
    "F0": Failure.WAIT,  # its configuration is being mended
}
_POOLED = frozenset({"26000", "42P05"})
_CACHED_PLAN = "cached plan must not change result type"

# MariaDB's own numbers say more than its SQLSTATEs.
_NUMBERS: dict[int, Failure] = {
    1020: Failure.CONFLICT,  # record changed since it was read
    1205: Failure.CONFLICT,  # no lock in time
    1213: Failure.CONFLICT,  # deadlock
    1412: Failure.CONFLICT,  # the table's definition changed
    1615: Failure.CONFLICT,  # to be prepared again
    1054: Failure.BEHIND,
    1146: Failure.BEHIND,
}
_MARIADB_WAITS = frozenset(
    # disk full, out of memory, files and tables full, the engine's own troubles
    {1002, 1003, 1004, 1005, 1016, 1021, 1023, 1024, 1025, 1026, 1028, 1030, 1037, 1038, 1041}
    | {1114, 1135, 1180, 1181, 1182, 1206, 1257}
    # too many connections, hosts and users refused, limits
    | {1040, 1042, 1043, 1044, 1045, 1049, 1129, 1130, 1142, 1143, 1203, 1226, 1227, 1698, 3159}
    # shutting down, killed, cut off
    | {1053, 1077, 1078, 1079, 1152, 1184, 1317, 1927, 1969, 3024, 4031}
    | {1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161}
    # read-only, not ready (a standby, Galera)
    | {1036, 1047, 1290, 1792, 1836, 1223, 1207}
)
_DUPLICATE = 1062
_FIRST_SERVER_NUMBER, _CLIENT_NUMBERS, _PROXY_NUMBERS = 1000, range(2000, 3000), 9000

# SQLite: the primary result code, the low byte of the extended one.
_SQLITE: dict[int, Failure] = {
    3: Failure.WAIT,  # PERM
    4: Failure.CONFLICT,  # ABORT
    5: Failure.WAIT,  # BUSY, after the busy timeout
    6: Failure.CONFLICT,  # LOCKED
    7: Failure.WAIT,  # NOMEM
    8: Failure.WAIT,  # READONLY
    9: Failure.WAIT,  # INTERRUPT
    10: Failure.WAIT,  # IOERR
    11: Failure.UNUSABLE,  # CORRUPT
    13: Failure.WAIT,  # FULL
    14: Failure.WAIT,  # CANTOPEN
    15: Failure.WAIT,  # PROTOCOL
    17: Failure.CONFLICT,  # SCHEMA
    22: Failure.UNUSABLE,  # NOLFS
    23: Failure.WAIT,  # AUTH
    26: Failure.UNUSABLE,  # NOTADB
}
_SQLITE_BUSY_SNAPSHOT = 517

_READ_ONLY: frozenset[str | int] = frozenset({"25006", 1290, 1792, 1836})
_DENIED: frozenset[str | int] = frozenset({"42501", 1044, 1142, 1143, 1227})


def failure_of(error: BaseException | None) -> Failure:
    """The class of an exception of psycopg, PyMySQL or sqlite3; every one has one."""
    code = _code(error)
    match code:
        case str():
            return _of_state(code, error)
        case int() if hasattr(error, "sqlite_errorcode"):
            return _of_sqlite(code, error)
        case int() if code:
            return _of_number(code)
    # Drivers' own errors, without a word of the server: a connection that broke.
    names = {kind.__name__ for kind in type(error).__mro__}
    return Failure.WAIT if names & {"OperationalError", "InterfaceError"} else Failure.OURS


def _code(error: BaseException | None) -> str | int | None:
    sqlite: int | None = getattr(error, "sqlite_errorcode", None)
    if sqlite is not None:
        return sqlite
    first = next(iter(getattr(error, "args", ())), None)
    if isinstance(first, int):
        return first
    state: str | None = getattr(error, "sqlstate", None)
    return state


def _of_state(state: str, error: BaseException | None) -> Failure:
    if state == "0A000" and _CACHED_PLAN in str(error):  # a migration went by
        return Failure.CONFLICT
    return _STATES.get(state) or _STATE_CLASSES.get(state[:2], Failure.OURS)


def _of_number(number: int) -> Failure:
    away = number < _FIRST_SERVER_NUMBER or number in _CLIENT_NUMBERS or number >= _PROXY_NUMBERS
    if away or number in _MARIADB_WAITS:
        return Failure.WAIT
    return _NUMBERS.get(number, Failure.OURS)


def _of_sqlite(code: int, error: BaseException | None) -> Failure:
    if code == _SQLITE_BUSY_SNAPSHOT:
        return Failure.CONFLICT
    words = str(error)
    if "no such table" in words or "no such column" in words or "has no column" in words:
        return Failure.BEHIND
    return _SQLITE.get(code & 0xFF, Failure.OURS)


def is_conflict(error: BaseException) -> bool:
    """Whether the transaction lost against another one and would go well if run again."""
    return isinstance(error, DBAPIError) and failure_of(error.orig) is Failure.CONFLICT


def is_duplicate(error: DBAPIError) -> bool:
    """Whether MariaDB has a row with this key already."""
    return _code(error.orig) == _DUPLICATE


def is_read_only(error: BaseException) -> bool:
    """Whether the server that answered takes no writes: another one may have taken its place."""
    return isinstance(error, DBAPIError) and _code(error.orig) in _READ_ONLY


def is_denied(error: BaseException) -> bool:
    """Whether the role that we are logged in as lacks a right."""
    return isinstance(error, DBAPIError) and _code(error.orig) in _DENIED


def translated(error: SQLAlchemyError) -> IngestError | None:
    """Our error for one of SQLAlchemy's; None for what no database has said: a mistake of ours."""
    if isinstance(error, PoolTimeout):
        return StoreUnavailable("no database connection became free in time")
    if not isinstance(error, DBAPIError):
        return None
    said = first_line(error)
    match Failure.WAIT if error.connection_invalidated else failure_of(error.orig):
        case Failure.BEHIND:
            return DatabaseBehind(f"the database lacks tables of this version: {CURE}")
        case Failure.UNUSABLE:
            return ConfigurationError(f"INGEST_DATABASE_URL: no usable SQLite file: {said}")
        case Failure.OURS:
            return StoreFault(f"the database refused a statement: {said}")
        case Failure.CONFLICT:
            return StoreUnavailable(f"the database is too busy: {said}")
        case Failure.WAIT if _code(error.orig) in _POOLED:
            return StoreUnavailable(f"{said}; behind a pooler set INGEST_DATABASE_POOLER")
        case Failure.WAIT if is_denied(error):
            return StoreUnavailable(f"the database's role may not do this: {said}")
        case Failure.WAIT:
            return StoreUnavailable(f"the database does not answer: {said}")


def first_line(error: DBAPIError) -> str:
    """What the database said, short."""
    words = str(error.orig).strip().partition("\n")[0]
    return words[:300] or type(error.orig).__name__
