"""Which revision a database is at, told without Alembic, whose import costs more than a command."""

from __future__ import annotations

from sqlalchemy import column, inspect, select, table

from worker.adapters.database.engine import parse, single
from worker.adapters.database.failures import CURE
from worker.adapters.database.transaction import mapped_errors
from worker.errors import DatabaseBehind

HEAD = "0001"
"""The revision that this version works with: the newest one of the migrations."""

_VERSION = table("alembic_version", column("version_num"))


def current(url: str) -> str | None:
    """The revision a database is at, None before the first.

    Raises:
        StoreUnavailable: it can't be reached.
    """
    engine = single(parse(url))
    try:
        with mapped_errors(), engine.connect() as connection:
            if not inspect(connection).has_table(_VERSION.name):
                return None
            return connection.scalar(select(_VERSION.c.version_num))
    finally:
        engine.dispose()


def check_revision(url: str) -> None:
    """Make sure that a database has the tables of this version.

    Raises:
        DatabaseBehind: it has not.
        StoreUnavailable: it can't be reached.
    """
    found = current(url)
    if found is None:
        raise DatabaseBehind(f"the database has no tables yet: {CURE}")
    if found != HEAD:
        raise DatabaseBehind(f"the database is at revision {found}, not {HEAD}: {CURE}")
