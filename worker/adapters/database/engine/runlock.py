"""One embedded run at a time: a lock that the operating system or the server frees by itself.

A process that is killed frees its lock at once, since it lives in an open file or connection.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, text

from worker.adapters.database.engine.engines import is_pooled, kind_of, parse, single
from worker.adapters.database.engine.transaction import mapped_errors
from worker.errors import RunInProgress, StoreUnavailable

_BUSY = "another run works on this database; wait for it, or end it, and try again"


@contextmanager
def run_lock(url: str) -> Iterator[None]:
    """Hold the database's run lock.

    Raises:
        RunInProgress: another process holds it; known at once.
        StoreUnavailable: the database can't be reached.
    """
    with exclusive(url, "run", wait=False):
        yield


@contextmanager
def exclusive(url: str, purpose: str, *, wait: bool) -> Iterator[None]:
    """Hold the database's lock for this purpose.

    Args:
        url: the database.
        purpose: different purposes don't exclude each other.
        wait: whether to wait for whoever holds it.

    Raises:
        RunInProgress: another process holds it, and `wait` is False.
        StoreUnavailable: the database can't be reached.
    """
    parsed = parse(url)
    if kind_of(parsed) == "sqlite":
        with _file_lock(_lock_file(parsed, purpose), wait=wait):
            yield
    else:
        with _server_lock(parsed, purpose, wait=wait):
            yield


def is_locked(url: URL, purpose: str = "run") -> bool:
    """Whether somebody holds the database's lock for this purpose; waits for nobody.

    Raises:
        StoreUnavailable: the database can't be reached.
    """
    kind = kind_of(url)
    if kind == "sqlite":
        return _is_file_locked(_lock_file(url, purpose))
    engine = single(url)
    try:
        with mapped_errors(), engine.connect() as connection:
            if kind == "postgresql":
                return _is_advised(connection, purpose)
            return not connection.execute(text(f"SELECT IS_FREE_LOCK({_name(purpose)})")).scalar()
    finally:
        engine.dispose()


def _lock_file(url: URL, purpose: str) -> Path:
    """By the file itself: another spelling, or a link to it, is the same database."""
    return Path(f"{os.path.realpath(url.database or '')}.{purpose}-lock")


def _is_file_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_advised(connection: Connection, purpose: str) -> bool:
    """Whether PostgreSQL knows of a holder: its key's halves are two columns of `pg_locks`."""
    key = _number(purpose) & (2**64 - 1)
    held = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND classid = :high AND objid = :low"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    halves = {"high": key >> 32, "low": key & (2**32 - 1)}
    return bool(connection.execute(held, halves).scalar_one())


@contextmanager
def _file_lock(path: Path, *, wait: bool) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreUnavailable(f"can't lock the database: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    except BlockingIOError as error:
        raise RunInProgress(_BUSY) from error
    finally:
        os.close(descriptor)  # the file stays: removing it would let two hold "the" lock


@contextmanager
def _server_lock(url: URL, purpose: str, *, wait: bool) -> Iterator[None]:
    engine = single(url)
    with mapped_errors():
        connection = engine.connect()
        if not is_pooled(url):
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
    try:
        with mapped_errors():
            got = _take(connection, url, purpose, wait=wait)
        if not got:
            raise RunInProgress(_BUSY)
        yield
    finally:
        # Closing the connection frees the lock, also when the server is gone already.
        connection.invalidate()
        connection.close()
        engine.dispose()


def _take(connection: Connection, url: URL, purpose: str, *, wait: bool) -> bool:
    if kind_of(url) == "postgresql":
        verb = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
        if is_pooled(url):  # a session is whoever's turn it is: held as long as a transaction
            verb = verb.replace("_lock", "_xact_lock")
        taken = connection.execute(text(f"SELECT {verb}(:key)"), {"key": _number(purpose)})
        return wait or bool(taken.scalar_one())
    seconds = 600 if wait else 0
    lock = text(f"SELECT GET_LOCK({_name(purpose)}, {seconds})")
    return bool(connection.execute(lock).scalar_one())


def _name(purpose: str) -> str:
    """MariaDB's locks belong to the whole server, so the name says which database."""
    return f"CONCAT('chatflow-ingest:{purpose}:', MD5(DATABASE()))"


def _number(purpose: str) -> int:
    digest = hashlib.sha256(f"chatflow-ingest:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
