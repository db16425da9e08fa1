"""What the suites share: servers, fresh databases, and a word at the end about both.

A suite that needs a server asks for one of the fixtures `postgres_url`, `mariadb_url`,
`redis_url`, `rabbitmq_url`; without that server it is skipped, and with `CI=true` it fails.
`database_url` runs a test on SQLite, PostgreSQL and MariaDB, each migrated and empty; `store` is
the store on it.
"""

import gc
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from worker.adapters.database import SqlStore, migrate, open_store
from worker.adapters.database.engine import parse, single
from worker.adapters.database.tables import metadata

SERVERS = {
    "PostgreSQL": ("TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
    "MariaDB": ("TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
    "Redis": ("TEST_REDIS_URL", "redis://127.0.0.1:6379/0"),
    "RabbitMQ": ("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//"),
}
PORTS = {"PostgreSQL": 5432, "MariaDB": 3306, "Redis": 6379, "RabbitMQ": 5672}
_seen: dict[str, dict[str, int]] = {name: {"ran": 0, "missing": 0} for name in SERVERS}


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
        _seen[name]["ran"] += 1
        return url
    _seen[name]["missing"] += 1
    word = f"no {name} server at {variable}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(word)
    pytest.skip(word)


@pytest.fixture
def redis_url() -> str:
    return _server("Redis")


@pytest.fixture
def rabbitmq_url() -> str:
    return _server("RabbitMQ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    words = [_word(name, **counts) for name, counts in _seen.items() if any(counts.values())]
    if words:
        terminalreporter.write_sep("-", "servers")
        terminalreporter.write_line("; ".join(words))


def _word(name: str, ran: int, missing: int) -> str:
    if missing:
        return f"{name}: {missing} tests NOT run, no server at {SERVERS[name][0]}"
    return f"{name}: {ran} tests ran"


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
    for server, name in created:
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
    gc.collect()
    taken = [store._database.engine.pool.checkedout() for store in stores]  # type: ignore[attr-defined]
    for store in stores:
        store.close()
    assert not any(taken), "a connection was not given back"


@pytest.fixture
def store(open_stores: Callable[[], SqlStore]) -> SqlStore:
    """The store on a fresh database of each kind."""
    return open_stores()
