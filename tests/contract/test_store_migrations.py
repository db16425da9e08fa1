import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from worker.adapters.database import HEAD, check_revision, current, open_store
from worker.adapters.database.engine import migrate
from worker.adapters.database.engine.engines import parse, single
from worker.adapters.database.engine.revision import is_known
from worker.adapters.database.tables import metadata
from worker.errors import ConfigurationError, DatabaseBehind, DatabaseNewer, StoreUnavailable

TOP = Path(__file__).parents[2]


def looked_at(url: str, look: Callable):
    engine = single(parse(url))
    try:
        with engine.connect() as connection:
            return look(connection)
    finally:
        engine.dispose()


def tables(url: str) -> set[str]:
    return looked_at(url, lambda connection: set(inspect(connection).get_table_names()))


def test_up_down_and_up_again(empty_database_url: str):
    url = empty_database_url
    assert current(url) is None
    migrate.upgrade(url)
    assert current(url) == HEAD
    assert set(metadata.tables) <= tables(url)
    migrate.downgrade(url, "base")
    assert current(url) is None
    assert tables(url) <= {"alembic_version"}
    assert looked_at(url, lambda connection: inspect(connection).get_view_names()) == []
    migrate.upgrade(url)
    migrate.upgrade(url)
    assert current(url) == HEAD


def test_the_schema_is_what_the_code_believes(database_url: str):
    def compare(connection):
        options = {"compare_type": True, "compare_server_default": False}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert looked_at(database_url, compare) == []


def test_partial_indexes_are_partial(database_url: str):
    def indexes(connection):
        if connection.dialect.name == "sqlite":
            words = connection.execute(text("SELECT sql FROM sqlite_master WHERE type = 'index'"))
        elif connection.dialect.name == "postgresql":
            words = connection.execute(text("SELECT indexdef FROM pg_indexes"))
        else:
            return []
        return [word for (word,) in words if word and "ix_files" in word and "WHERE" in word]

    found = looked_at(database_url, indexes)
    assert len(found) == (0 if database_url.startswith("mysql") else 7)


def test_times_are_real_timestamps(database_url: str):
    def kind(connection):
        columns = inspect(connection).get_columns("files")
        return next(column["type"] for column in columns if column["name"] == "finished_at")

    found = looked_at(database_url, kind)
    assert type(found).__name__ in {"DATETIME", "TIMESTAMP"}
    match database_url.partition(":")[0]:
        case "postgresql+psycopg":
            assert found.timezone is True
        case "mysql+pymysql":
            assert found.fsp == 6


def test_two_upgrades_at_a_time_do_not_break_each_other(empty_database_url: str):
    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(migrate.upgrade, empty_database_url) for _ in range(3)]:
            future.result(60)
    check_revision(empty_database_url)


def test_a_database_without_tables_is_said_so(empty_database_url: str):
    with pytest.raises(DatabaseBehind, match="chatflow-ingest db upgrade"):
        check_revision(empty_database_url)
    store = open_store(empty_database_url)
    try:
        with pytest.raises(DatabaseBehind, match="chatflow-ingest db upgrade"):
            store.due(1)
    finally:
        store.close()


def test_another_revision_is_said_so(sqlite_url: str):
    def spoil(connection):
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()

    looked_at(sqlite_url, spoil)
    with pytest.raises(DatabaseNewer, match=r"9999.*newer version"):
        check_revision(sqlite_url)
    with pytest.raises(DatabaseNewer, match="newer version"):
        migrate.upgrade(sqlite_url)


def test_every_revision_of_this_version_is_known_and_an_older_one_is_behind(sqlite_url: str):
    for script in ScriptDirectory(str(migrate.folder())).walk_revisions():
        assert is_known(script.revision)
    migrate.downgrade(sqlite_url, "-1")
    with pytest.raises(DatabaseBehind, match="db upgrade"):
        check_revision(sqlite_url)


@pytest.mark.parametrize("spoilt", ["text", "cut", "overwritten"])
def test_a_file_that_is_no_database_is_said_so(sqlite_url: str, spoilt: str):
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    whole = path.read_bytes()
    match spoilt:
        case "text":
            path.write_text("this is no database at all, but a text\n" * 200)
        case "cut":
            path.write_bytes(whole[:5000])
        case "overwritten":
            path.write_bytes(whole[:100] + b"\x55" * (len(whole) - 100))
    store = open_store(sqlite_url)
    with pytest.raises(ConfigurationError, match="INGEST_DATABASE_URL"):
        check_revision(sqlite_url)
    with pytest.raises(ConfigurationError, match="INGEST_DATABASE_URL"):
        store.batches()
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://postgres:hidden-word@127.0.0.1:9/nowhere",
        "mysql+pymysql://root:hidden-word@127.0.0.1:9/nowhere",
        "sqlite:////nonexistent/folder/x.db",
    ],
)
def test_a_database_that_is_away_is_unavailable(url: str):
    store = open_store(url)
    for call in (store.now, lambda: current(url), lambda: migrate.upgrade(url)):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert "hidden-word" not in str(caught.value)
    store.close()


@pytest.mark.parametrize(
    "url", ["nonsense", "oracle://x/y", "sqlite://", "sqlite:///:memory:", "foo://x"]
)
def test_an_address_of_nothing_we_know_is_a_fault_of_the_configuration(url: str):
    with pytest.raises(ConfigurationError, match="INGEST_DATABASE_URL"):
        open_store(url)


def test_alembic_works_from_a_checkout(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'cli.db'}"
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    environment = {**os.environ, "INGEST_DATABASE_URL": url}
    subprocess.run(command, cwd=TOP, env=environment, check=True, capture_output=True, timeout=60)
    check_revision(url)


def test_migrations_are_found_inside_an_installed_package(tmp_path: Path, monkeypatch):
    package = tmp_path / "site-packages" / "worker"
    shipped = package / "_migrations"
    shipped.mkdir(parents=True)
    (shipped / "env.py").touch()
    monkeypatch.setattr(
        "worker.adapters.database.engine.revision.worker.__file__", str(package / "x.py")
    )
    assert migrate.folder() == shipped
    (shipped / "env.py").unlink()
    with pytest.raises(ConfigurationError, match="missing"):
        migrate.folder()


def test_the_revision_that_the_code_wants_is_the_newest_one():
    assert migrate.head() == HEAD


def test_a_change_does_not_wait_for_ever_for_a_table(empty_database_url: str, monkeypatch):
    url = empty_database_url
    if url.startswith("sqlite"):
        pytest.skip("its lock is the file's, and bounded for everybody")
    migrate.upgrade(url, "0007")
    monkeypatch.setattr(migrate, "LOCK_WAIT", 1)

    def refused(connection) -> None:
        connection.execute(text("select count(*) from batches"))  # a report that stays open
        if connection.dialect.name == "postgresql":
            connection.execute(text("lock table batches in row exclusive mode"))
        with pytest.raises(StoreUnavailable, match=r"kept one of them locked.*db upgrade"):
            migrate.upgrade(url)

    looked_at(url, refused)
    assert current(url) == "0007"
    migrate.upgrade(url)
    assert current(url) == HEAD
