"""The schema's revisions: where they are found, and how a database is brought to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from worker.adapters.database.engine.engines import parse, single
from worker.adapters.database.engine.failures import first_line, is_conflict, is_denied
from worker.adapters.database.engine.revision import check_not_newer, folder
from worker.adapters.database.engine.runlock import exclusive
from worker.adapters.database.engine.transaction import mapped_errors
from worker.errors import ConfigurationError, DatabaseBehind, StoreUnavailable, UsageError

LOCK_WAIT = 10
"""Seconds that a change waits for a table. While it does, everybody else waits behind it."""

_LOCK_WAITS = {
    "postgresql": "SET LOCAL lock_timeout = '{}s'",
    "mysql": "SET SESSION lock_wait_timeout = {0}, innodb_lock_wait_timeout = {0}",
    "mariadb": "SET SESSION lock_wait_timeout = {0}, innodb_lock_wait_timeout = {0}",
}


def head() -> str:
    """The newest revision that this version knows."""
    revision = ScriptDirectory(str(folder())).get_current_head()
    if revision is None:
        raise ConfigurationError("the database's migrations are missing: install the package again")
    return revision


def upgrade(url: str, revision: str = "head") -> None:
    """Bring a database to a revision; of several callers at a time, one works and the rest wait.

    Raises:
        DatabaseBehind: this role may not change them.
        DatabaseNewer: a newer version has made its tables.
        StoreUnavailable: it can't be reached.
    """
    check_not_newer(url)
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Take a database back to an older revision ("base" is before the first).

    Raises:
        UsageError: there is no such revision.
        StoreUnavailable: it can't be reached.
    """
    _run(url, lambda config: command.downgrade(config, revision))


def _run(url: str, work: Callable[[Config], None]) -> None:
    engine = single(parse(url))
    try:
        with (
            exclusive(url, "migrate", wait=True),
            mapped_errors(),
            _by_the_owner(),
            _in_time(),
            engine.begin() as connection,
        ):
            if wait := _LOCK_WAITS.get(connection.dialect.name):
                connection.execute(text(wait.format(LOCK_WAIT)))
            work(_config(connection))
    except CommandError as error:  # a revision that does not exist, or that a later version made
        raise UsageError(f"the database's revisions: {error}") from error
    finally:
        engine.dispose()


@contextmanager
def _by_the_owner() -> Iterator[None]:
    """Say so when this role may not change the tables: to wait for the right would be in vain."""
    try:
        yield
    except DBAPIError as error:
        if not is_denied(error):
            raise
        words = "this role may not change the database's tables: run `chatflow-ingest db upgrade`"
        raise DatabaseBehind(f"{words} with their owner's address ({first_line(error)})") from error


@contextmanager
def _in_time() -> Iterator[None]:
    """Say so when somebody kept a table locked: whatever comes after a waiting change waits too."""
    try:
        yield
    except DBAPIError as error:
        if not is_conflict(error):
            raise
        raise StoreUnavailable(
            f"the database's tables can't be changed: another session kept one of them locked for"
            f" {LOCK_WAIT} seconds; end its long transaction (a report, a dump), then run"
            f" `chatflow-ingest db upgrade` again ({first_line(error)})"
        ) from error


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
