"""The schema's revisions: where they are found, and how a database is brought to one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

import worker
from worker.adapters.database.engine import parse, single
from worker.adapters.database.failures import CURE
from worker.adapters.database.runlock import exclusive
from worker.adapters.database.transaction import mapped_errors
from worker.errors import ConfigurationError, DatabaseBehind, UsageError


def folder() -> Path:
    """Where the revisions are: inside an installed wheel, or at the top of a checkout.

    Raises:
        ConfigurationError: in neither place.
    """
    package = Path(worker.__file__).parent
    for place in (package / "_migrations", package.parent / "migrations"):
        if (place / "env.py").is_file():
            return place
    raise ConfigurationError("the database's migrations are missing: install the package again")


def head() -> str:
    """The newest revision that this version knows."""
    revision = ScriptDirectory(str(folder())).get_current_head()
    if revision is None:
        raise ConfigurationError("the database's migrations are missing: install the package again")
    return revision


def current(url: str) -> str | None:
    """The revision a database is at, None before the first.

    Raises:
        StoreUnavailable: it can't be reached.
    """
    engine = single(parse(url))
    try:
        with mapped_errors(), engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def upgrade(url: str, revision: str = "head") -> None:
    """Bring a database to a revision; of several callers at a time, one works and the rest wait.

    Raises:
        StoreUnavailable: it can't be reached.
    """
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Take a database back to an older revision ("base" is before the first).

    Raises:
        UsageError: there is no such revision.
        StoreUnavailable: it can't be reached.
    """
    _run(url, lambda config: command.downgrade(config, revision))


def check_revision(url: str) -> None:
    """Make sure that a database has the tables of this version.

    Raises:
        DatabaseBehind: it has not.
        StoreUnavailable: it can't be reached.
    """
    found, wanted = current(url), head()
    if found is None:
        raise DatabaseBehind(f"the database has no tables yet: {CURE}")
    if found != wanted:
        raise DatabaseBehind(f"the database is at revision {found}, not {wanted}: {CURE}")


def _run(url: str, work: Callable[[Config], None]) -> None:
    engine = single(parse(url))
    try:
        with exclusive(url, "migrate", wait=True), mapped_errors(), engine.begin() as connection:
            work(_config(connection))
    except CommandError as error:  # a revision that does not exist, or that a later version made
        raise UsageError(f"the database's revisions: {error}") from error
    finally:
        engine.dispose()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
