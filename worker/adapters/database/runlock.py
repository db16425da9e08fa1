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

from worker.adapters.database.engine import kind_of, parse, single
from worker.adapters.database.transaction import mapped_errors
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
        with _file_lock(Path(f"{parsed.database}.{purpose}-lock"), wait=wait):
            yield
    else:
        with _server_lock(parsed, purpose, wait=wait):
            yield


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
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with mapped_errors():
            got = _take(connection, kind_of(url) == "postgresql", purpose, wait=wait)
        if not got:
            raise RunInProgress(_BUSY)
        yield
    finally:
        # Closing the connection frees the lock, also when the server is gone already.
        connection.invalidate()
        connection.close()
        engine.dispose()


def _take(connection: Connection, postgresql: bool, purpose: str, *, wait: bool) -> bool:  # noqa: FBT001
    if postgresql:
        verb = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
        taken = connection.execute(text(f"SELECT {verb}(:key)"), {"key": _number(purpose)})
        return wait or bool(taken.scalar_one())
    # MariaDB's locks belong to the whole server, so the name says which database.
    name = f"CONCAT('chatflow-ingest:{purpose}:', MD5(DATABASE()))"
    seconds = 600 if wait else 0
    return bool(connection.execute(text(f"SELECT GET_LOCK({name}, {seconds})")).scalar_one())


def _number(purpose: str) -> int:
    digest = hashlib.sha256(f"chatflow-ingest:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
