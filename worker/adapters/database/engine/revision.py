"""Which revision a database is at, told without Alembic, whose import costs more than a command."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import column, inspect, select, table

import worker
from worker.adapters.database.engine.engines import kind_of, parse, single
from worker.adapters.database.engine.failures import CURE
from worker.adapters.database.engine.transaction import mapped_errors
from worker.errors import ConfigurationError, DatabaseBehind, DatabaseNewer

NEWER_CURE = "install the newer version, or take the database back with its `db downgrade`"

HEAD = "0009"
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


def exists(url: str) -> bool:
    """Whether the database is there and has tables of ours; looking makes no file.

    Raises:
        StoreUnavailable: it can't be reached.
    """
    parsed = parse(url)
    if kind_of(parsed) == "sqlite" and not Path(parsed.database or "").exists():
        return False
    return current(url) is not None


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


def is_known(revision: str) -> bool:
    """Whether this version has the revision: one that it has not was made by a newer one."""
    names = (path.name for path in (folder() / "versions").glob("*.py"))
    return any(name.startswith(f"{revision}_") for name in names)


def check_not_newer(url: str) -> str | None:
    """The revision a database is at, None before the first.

    Raises:
        DatabaseNewer: this version does not know it.
        StoreUnavailable: it can't be reached.
    """
    found = current(url)
    if found is not None and found != HEAD and not is_known(found):
        raise DatabaseNewer(
            f"the database is at revision {found}, made by a newer version than this one, which"
            f" wants {HEAD}: {NEWER_CURE}"
        )
    return found


def check_revision(url: str) -> None:
    """Make sure that a database has the tables of this version.

    Raises:
        DatabaseBehind: it has not.
        StoreUnavailable: it can't be reached.
    """
    found = check_not_newer(url)
    if found is None:
        raise DatabaseBehind(f"the database has no tables yet: {CURE}")
    if found != HEAD:
        raise DatabaseBehind(f"the database is at revision {found}, not {HEAD}: {CURE}")
