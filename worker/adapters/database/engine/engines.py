"""Engines for the three databases, with the settings that each needs to be safe and quick."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any, Literal

from sqlalchemy import URL, Connection, Dialect, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, NoSuchModuleError

from worker.errors import ConfigurationError

Kind = Literal["sqlite", "postgresql", "mariadb"]

PING_AFTER = 3.0
"""Seconds after its last use from which on a connection is asked whether it still lives."""

_USED_AT = "ingest_used_at"

WRITES = "ingest_writes"
"""Execution option of a connection that will write: SQLite takes its one write lock at once."""

_POSTGRESQL: Mapping[str, Any] = {
    "connect_timeout": 5,
    "application_name": "chatflow-ingest",
    # A server that froze, or a network that swallows packets, is noticed within some 15 seconds.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
# Compiling a statement takes half a second, and none of ours runs long enough to be worth it.
_POSTGRESQL_SESSION = "-c timezone=UTC -c idle_in_transaction_session_timeout=60000 -c jit=off"
_POSTGRESQL_LIMITS = " -c lock_timeout=10000 -c statement_timeout=30000"
_THRESHOLD = "prepare_threshold"

POOLER = "pooler"
"""Parameter of an address: `transaction` behind PgBouncer in transaction mode, and the like."""

_LOCAL: Mapping[str, str] = {"timezone": "UTC", "jit": "off"}
_LOCAL_LIMITS: Mapping[str, str] = {
    "idle_in_transaction_session_timeout": "60000",
    "lock_timeout": "10000",
    "statement_timeout": "30000",
}
# A lock that lives as long as its transaction may be held for hours.
_NO_LOCAL_LIMITS: Mapping[str, str] = {"idle_in_transaction_session_timeout": "0"}
_MARIADB: Mapping[str, Any] = {"charset": "utf8mb4", "connect_timeout": 5}
_MARIADB_LIMITS: Mapping[str, Any] = {"read_timeout": 30, "write_timeout": 30}
_MARIADB_SESSION = (
    "SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = 10, "
    "sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')"
)
_SQLITE_PRAGMAS = (
    "busy_timeout = 30000",
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "foreign_keys = ON",
)


def parse(url: str) -> URL:
    """The address in its parts.

    Raises:
        ConfigurationError: it is no address of a database that the store can use.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        parsed.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise ConfigurationError("INGEST_DATABASE_URL: not a database address") from error
    if backend not in {"sqlite", "postgresql", "mysql", "mariadb"}:
        raise ConfigurationError(f"INGEST_DATABASE_URL: {backend} is not a supported database")
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise ConfigurationError("INGEST_DATABASE_URL: SQLite needs a file, not memory")
    if POOLER in parsed.query and not (is_pooled(parsed) and backend == "postgresql"):
        raise ConfigurationError(
            f"INGEST_DATABASE_URL: {POOLER}: only `transaction`, for PostgreSQL behind PgBouncer"
        )
    if backend == "postgresql":
        _threshold(parsed)
    return parsed


def is_pooled(url: URL) -> bool:
    """Whether each transaction may be on another of the server's connections."""
    return url.query.get(POOLER) == "transaction"


def kind_of(url: URL) -> Kind:
    """Which of the three databases the address belongs to."""
    match url.get_backend_name():
        case "sqlite":
            return "sqlite"
        case "postgresql":
            return "postgresql"
        case _:
            return "mariadb"


def pooled(url: URL, pool_size: int) -> Engine:
    """An engine for the store's short transactions."""
    options: dict[str, Any] = {"pool_recycle": 1800, "pool_timeout": 30}
    engine = _engine(url, limits=True, pool_size=pool_size, max_overflow=pool_size, **options)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", partial(_ping_if_idle, engine.dialect))
    return engine


def _note_use(_connection: Any, record: Any) -> None:
    record.info[_USED_AT] = monotonic()


def _ping_if_idle(dialect: Dialect, connection: Any, record: Any, _proxy: Any) -> None:
    """Replace a connection that has died while it lay idle.

    SQLAlchemy's own ping comes before every transaction and costs a twentieth of a worker's CPU.
    A connection that was used just now is taken to live; if it does not, the caller hears
    StoreUnavailable, waits, and gets another.
    """
    used_at = record.info.get(_USED_AT)
    if used_at is None or monotonic() - used_at < PING_AFTER:
        return
    try:
        alive = dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise DisconnectionError from error
    if not alive:
        raise DisconnectionError


def single(url: URL) -> Engine:
    """An engine without pool or time limits: for migrations and for locks that are held long."""
    return _engine(url, limits=False, poolclass=NullPool)


def _engine(url: URL, *, limits: bool, **options: Any) -> Engine:
    match kind_of(url):
        case "sqlite":
            engine = create_engine(url, hide_parameters=True, **options)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        case "postgresql" if is_pooled(url):
            return _behind_pooler(url, limits=limits, **options)
        case "postgresql":
            settings = dict(_POSTGRESQL)
            settings["options"] = _POSTGRESQL_SESSION + (_POSTGRESQL_LIMITS if limits else "")
            settings |= _threshold(url)
            url = url.difference_update_query([_THRESHOLD])
        case "mariadb":
            settings = {**_MARIADB, **(_MARIADB_LIMITS if limits else {})}
            settings["init_command"] = _MARIADB_SESSION
            # The default, REPEATABLE READ, locks gaps and reads a stale snapshot.
            options["isolation_level"] = "READ COMMITTED"
    wanted = {name: value for name, value in settings.items() if name not in url.query}
    return create_engine(url, hide_parameters=True, connect_args=wanted, **options)


def _behind_pooler(url: URL, *, limits: bool, **options: Any) -> Engine:
    """For a pooler that gives each transaction another connection: nothing outlives one.

    No statement is prepared, and no option travels with the connection, which poolers refuse or
    forget: what a session is told elsewhere, each transaction is told here.
    """
    settings = {**_POSTGRESQL, _THRESHOLD: None}
    plain = url.difference_update_query([POOLER, _THRESHOLD])
    wanted = {name: value for name, value in settings.items() if name not in plain.query}
    engine = create_engine(plain, hide_parameters=True, connect_args=wanted, **options)
    told = {**_LOCAL, **(_LOCAL_LIMITS if limits else _NO_LOCAL_LIMITS)}
    words = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in told.items())
    event.listen(engine, "begin", partial(_tell, f"SELECT {words}"))
    return engine


def _tell(statement: str, connection: Connection) -> None:
    connection.exec_driver_sql(statement)


def _threshold(url: URL) -> dict[str, int | None]:
    """Psycopg's `prepare_threshold`, which it wants as a number: never is "none".

    Raises:
        ConfigurationError: it is neither.
    """
    text = url.query.get(_THRESHOLD)
    if text is None:
        return {}
    if isinstance(text, str) and text.lower() == "none":
        return {_THRESHOLD: None}
    if isinstance(text, str) and text.isdecimal() and len(text) < 6:
        return {_THRESHOLD: int(text)}
    raise ConfigurationError(f"INGEST_DATABASE_URL: {_THRESHOLD}: write a number, or none")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours, below: the driver's comes too late
    cursor = connection.cursor()
    try:
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
