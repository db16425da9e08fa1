"""The scripts of deploy/database on a server, under names of the test's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import create_engine, make_url

SCRIPTS = Path(__file__).parents[1] / "deploy" / "database"
ROLES = ("owner", "worker", "reader")


@dataclass(frozen=True)
class Roles:
    """One database's addresses: its administrator's, and that of each role."""

    admin: str
    owner: str
    worker: str
    reader: str


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection, connection.begin():
            cursor = connection.connection.cursor()  # the driver's own, which reads no % as a place
            for statement in statements:
                cursor.execute(statement)
    finally:
        engine.dispose()


def script(admin: str, prefix: str) -> list[str]:
    """The script for this server, its names beginning with another word than `ingest`."""
    postgresql = admin.startswith("postgresql")
    name = "postgresql.sql" if postgresql else "mariadb.sql"
    words = (SCRIPTS / name).read_text(encoding="utf-8")
    words = re.sub(r"^ *--.*$", "", words, flags=re.MULTILINE)
    words = words.replace("ingest_", f"{prefix}_")
    if postgresql:
        return [words]  # the driver takes all of it at once
    database = make_url(admin).database
    words = re.sub(r"\bingest\b", str(database), words)
    return [each for each in words.split(";") if each.strip()]


@contextmanager
def roles_on(admin: str) -> Iterator[Roles]:
    """The three roles on the administrator's database; they and what they own go at the end."""
    prefix = f"t{uuid4().hex[:10]}"
    postgresql = admin.startswith("postgresql")
    execute(admin, *script(admin, prefix))
    give = "ALTER ROLE {} PASSWORD 'word'" if postgresql else (
        "ALTER USER {}@'%' IDENTIFIED BY 'word' ACCOUNT UNLOCK"
    )  # fmt: skip
    execute(admin, *(give.format(f"{prefix}_{role}") for role in ROLES))
    url = make_url(admin)
    named = {
        role: url.set(username=f"{prefix}_{role}", password="word").render_as_string(
            hide_password=False
        )
        for role in ROLES
    }
    try:
        yield Roles(admin=admin, **named)
    finally:
        names = [f"{prefix}_{role}" for role in ROLES]
        if postgresql:
            for name in names:
                execute(admin, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")
        else:
            execute(admin, *(f"DROP USER {name}@'%'" for name in names))


def again(roles: Roles) -> None:
    """Run the script once more."""
    prefix = str(make_url(roles.owner).username).removesuffix("_owner")
    execute(roles.admin, *script(roles.admin, prefix))
