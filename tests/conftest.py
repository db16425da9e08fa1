"""What the suites share: servers, fresh databases, and a word at the end about both.

A suite that needs a server asks for one of the fixtures `postgres_url`, `mariadb_url`,
`redis_url`, `rabbitmq_url`; without that server it gets a stand-in (`tests/standins.py`) or is
skipped, and with `CI=true` it fails.
`database_url` runs a test on SQLite, PostgreSQL and MariaDB, each migrated and empty; `store` is
the store on it.
"""

import gc
import os
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from hypothesis import settings
from sqlalchemy import URL, create_engine, make_url, text

from tests import standins
from worker.adapters.database import SqlStore, open_store
from worker.adapters.database.engine import migrate
from worker.adapters.database.engine.engines import parse, single
from worker.adapters.database.tables import metadata

SERVERS = {
    "PostgreSQL": ("TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
    "MariaDB": ("TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
    "Redis": ("TEST_REDIS_URL", "redis://127.0.0.1:6379/0"),
    "RabbitMQ": ("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//"),
}
PORTS = {"PostgreSQL": 5432, "MariaDB": 3306, "Redis": 6379, "RabbitMQ": 5672}
_seen: dict[str, Counter[str]] = {name: Counter() for name in SERVERS}
"""How many tests ran where, or why not, in the words of the summary."""

settings.register_profile("no deadline", deadline=None)  # a machine that is busy fails no test
settings.load_profile("no deadline")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# --- servers -------------------------------------------------------------------------------------


def _answers(name: str, url: str) -> bool:
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or PORTS[name])
    with suppress(OSError), socket.create_connection(address, timeout=2):
        return True
    return False


def _server(name: str) -> str:
    variable, default = SERVERS[name]
    url = os.environ.get(variable) or default
    if _answers(name, url):
        _seen[name]["on its server"] += 1
        return url
    word = f"no server at {variable}"
    if os.environ.get("CI", "").lower() == "true":
        _seen[name][f"NOT run, {word}"] += 1
        pytest.fail(f"{name}: {word}")
    instead = standins.stand_in(name)
    if instead.url is None:
        _seen[name][f"NOT run, {word}"] += 1
        pytest.skip(f"{name}: {word}, and {instead.word}")
    _seen[name][f"on {instead.word}, {word}"] += 1
    return instead.url


@pytest.fixture
def redis_url() -> str:
    return _server("Redis")


@pytest.fixture
def rabbitmq_url() -> str:
    return _server("RabbitMQ")


@pytest.fixture
def fakeredis_url() -> str:
    """For a test that needs a broker and does not care which."""
    _seen["Redis"]["on fakeredis by choice"] += 1
    return standins.fakeredis()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that ran a share of the tests tells the one that asked for it."""
    standins.close()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["servers"] = {n: dict(c) for n, c in _seen.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for name, counts in getattr(node, "workeroutput", {}).get("servers", {}).items():
        _seen[name].update(counts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [f"{name}: {_words(counts)}" for name, counts in _seen.items() if counts]
    if lines:
        terminalreporter.write_sep("-", "servers")
        for line in lines:
            terminalreporter.write_line(line)


def _words(counts: Counter[str]) -> str:
    return "; ".join(
        f"{count} test{'s' * (count != 1)} {where}" for where, count in sorted(counts.items())
    )


# --- databases -----------------------------------------------------------------------------------


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _administer(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()


@pytest.fixture(scope="session")
def databases() -> Iterator[Callable[[str], str]]:
    """Creates databases with names of their own on a server, and drops them at the end."""
    created: list[tuple[str, str]] = []

    def create(server: str) -> str:
        name = f"chatflow_ingest_test_{uuid4().hex[:12]}"
        _administer(server, f"CREATE DATABASE {name}")
        created.append((server, name))
        return _shown(make_url(server).set(database=name))

    yield create
    for server, name in reversed(created):  # one may have been asked for by way of another
        force = " WITH (FORCE)" if server.startswith("postgresql") else ""
        _administer(server, f"DROP DATABASE {name}{force}")


@pytest.fixture(scope="session")
def migrated(databases: Callable[[str], str]) -> Callable[[str], str]:
    """The session's own migrated database on a server; emptied before each test."""
    made: dict[str, str] = {}

    def get(server: str) -> str:
        if server not in made:
            made[server] = databases(server)
            migrate.upgrade(made[server])
        _empty(made[server])
        return made[server]

    return get


def _empty(url: str) -> None:
    engine = single(parse(url))
    try:
        with engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
    finally:
        engine.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "ingest.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """A migrated, empty SQLite database of the test's own."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'ingest.db')}"


@pytest.fixture
def postgres_url(migrated: Callable[[str], str]) -> str:
    """A migrated, empty PostgreSQL database; no other test uses it at the same time."""
    return migrated(_server("PostgreSQL"))


@pytest.fixture
def mariadb_url(migrated: Callable[[str], str]) -> str:
    """A migrated, empty MariaDB database; no other test uses it at the same time."""
    return migrated(_server("MariaDB"))


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty database of each kind."""
    names = {"sqlite": "sqlite_url", "postgresql": "postgres_url", "mariadb": "mariadb_url"}
    url: str = request.getfixturevalue(names[request.param])
    return url


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def empty_database_url(
    request: pytest.FixtureRequest, tmp_path: Path, databases: Callable[[str], str]
) -> str:
    """A database of each kind without any table."""
    match request.param:
        case "sqlite":
            return f"sqlite:///{tmp_path / 'empty.db'}"
        case "postgresql":
            return databases(_server("PostgreSQL"))
        case _:
            return databases(_server("MariaDB"))


@pytest.fixture
def open_stores(database_url: str) -> Iterator[Callable[[], SqlStore]]:
    """Opens stores on one database; afterwards none may have kept a connection in hand."""
    stores: list[SqlStore] = []

    def another() -> SqlStore:
        stores.append(open_store(database_url, pool_size=10))
        return stores[-1]

    yield another
    if taken := _in_hand(stores):  # an iterator that a test left may hold one: collecting is dear
        gc.collect()
        taken = _in_hand(stores)
    for store in stores:
        store.close()
    assert not taken, "a connection was not given back"


def _in_hand(stores: list[SqlStore]) -> int:
    return sum(store._database.engine.pool.checkedout() for store in stores)  # type: ignore[attr-defined]


@pytest.fixture
def store(open_stores: Callable[[], SqlStore]) -> SqlStore:
    """The store on a fresh database of each kind."""
    return open_stores()
