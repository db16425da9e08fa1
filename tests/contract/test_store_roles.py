"""Each role of deploy/database may do its part, and nothing else."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from uuid import uuid4

import psycopg
import pymysql
import pytest

from tests.cli.desk import invoke
from tests.conftest import _server
from tests.contract.bench import Bench, done
from tests.roles import Roles, again, execute, roles_on
from tests.test_flower_pages import get
from worker.adapters.database import HEAD, SqlStore, check_revision, current, open_store, run_lock
from worker.adapters.database.engine import migrate
from worker.bootstrap import open_store as open_with_settings
from worker.core.lifecycle import FileState
from worker.core.model.ids import BatchId
from worker.errors import DatabaseBehind, StoreUnavailable
from worker.settings import Settings

Databases = Callable[[str], str]


SERVERS = ["PostgreSQL", "MariaDB"]


@pytest.fixture(scope="module", params=SERVERS)
def roles(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Roles]:
    """The roles on a database that the owner has migrated; for all tests, which only add to it."""
    with roles_on(databases(_server(request.param))) as made:
        migrate.upgrade(made.owner)
        yield made


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings that name a role's address, in the environment too."""
    for name in os.environ:
        if name.startswith(("CHATFLOW_", "INGEST_")):
            monkeypatch.delenv(name)

    def configure(url: str, **more: str) -> Settings:
        for name, value in {"INGEST_DATABASE_URL": url, **more}.items():
            monkeypatch.setenv(name, value)
        return Settings.load()

    return configure


def refused(url: str, statement: str) -> bool:
    """Whether the server says that the role may not do it, and not that it can't be done."""
    try:
        execute(url, statement)
    except (psycopg.Error, pymysql.Error) as error:
        words = str(error)
        assert "denied" in words or "must be owner" in words, words
        return True
    return False


def ingest(store: SqlStore) -> BatchId:
    """Two files from their hand-in to their results."""
    batch, files = Bench(store).polling(2, external_key=uuid4().hex)
    store.record([done(file) for file in files])
    store.finish([batch])
    return batch


TABLE = "CREATE TABLE another (id integer)"
SHAPES = [
    TABLE,
    "ALTER TABLE files ADD COLUMN another integer",
    "ALTER TABLE files DROP COLUMN sha256",
    "DROP TABLE results",
    "TRUNCATE TABLE files",
    "CREATE INDEX another ON files (name)",
    "CREATE OR REPLACE VIEW ingested_files AS SELECT 1 AS one",
    "CREATE TEMPORARY TABLE another (id integer)",
]
ROWS = ["DELETE FROM files", "UPDATE files SET polls = 0", "DELETE FROM alembic_version"]


@pytest.mark.parametrize("who", ["worker", "reader"])
def test_only_the_owner_changes_the_tables(roles: Roles, who: str):
    assert [each for each in SHAPES if not refused(getattr(roles, who), each)] == []
    assert current(roles.owner) == HEAD
    assert not refused(roles.owner, TABLE)
    assert not refused(roles.owner, "DROP TABLE another")


def test_the_reader_writes_no_row(roles: Roles):
    assert [each for each in ROWS if not refused(roles.reader, each)] == []


def test_the_worker_writes_rows_but_not_the_revision_where_a_grant_can_say_so(roles: Roles):
    assert not refused(roles.worker, ROWS[0])
    if roles.admin.startswith("postgresql"):
        assert refused(roles.worker, ROWS[2])
        assert refused(roles.worker, "UPDATE alembic_version SET version_num = '0001'")


def test_the_worker_hands_in_works_and_takes_back(roles: Roles):
    with closing(open_store(roles.worker)) as store, run_lock(roles.worker):
        batch = ingest(store)
        assert store.status(batch).counts == {FileState.SUCCEEDED: 2}
        another = Bench(store).batch(3)
        store.cancel(another)
        store.finish([another])
        assert store.prune(another, 0.0) == 3


READING = [
    ("status",),
    ("status", "latest"),
    ("status", "latest", "--json"),
    ("results", "latest"),
    ("show", "latest", "00000.wav"),
    ("report", "latest", "--output", "-"),
    ("audit",),
    ("notify", "list"),
    ("db", "current"),
]


def test_the_reader_sees_all_there_is_to_see(
    roles: Roles, configured: Callable[..., Settings], store_of: Callable[[str], SqlStore]
):
    batch = ingest(store_of(roles.worker))
    configured(roles.reader)
    told = {words: invoke(*words) for words in READING}
    assert {words: each.stderr for words, each in told.items() if each.exit_code} == {}
    assert '"text"' in told["results", "latest"].stdout
    assert store_of(roles.reader).overview()
    assert get(f"/batches/{batch}")[0] == 200
    assert get(f"/batches/{batch}/files/00000.wav")[0] == 200


@pytest.fixture
def store_of() -> Iterator[Callable[[str], SqlStore]]:
    opened: list[SqlStore] = []

    def of(url: str) -> SqlStore:
        opened.append(open_store(url))
        return opened[-1]

    yield of
    for each in opened:
        each.close()


def test_what_a_role_may_not_do_is_said_as_such(
    roles: Roles, configured: Callable[..., Settings], store_of: Callable[[str], SqlStore]
):
    batch = Bench(store_of(roles.worker)).batch(1)
    configured(roles.reader)
    with pytest.raises(StoreUnavailable, match="role may not"):
        store_of(roles.reader).cancel(batch)
    told = invoke("cancel", str(batch))
    assert (told.exit_code, "role may not" in told.stderr) == (1, True)


@pytest.mark.parametrize("server", SERVERS)
def test_a_role_that_may_not_migrate_says_who_has_to(
    databases: Databases, configured: Callable[..., Settings], server: str
):
    """Whatever INGEST_AUTO_MIGRATE says: no tables at all, then tables of an older version."""
    with roles_on(databases(_server(server))) as roles:
        for revision in (None, "0007"):
            if revision is not None:
                migrate.upgrade(roles.owner, revision)
            for url in (roles.worker, roles.reader):
                with pytest.raises(DatabaseBehind, match="db upgrade"):
                    open_with_settings(configured(url, INGEST_AUTO_MIGRATE=""))
                with pytest.raises(DatabaseBehind, match="owner's address"):
                    open_with_settings(configured(url, INGEST_AUTO_MIGRATE="on"))
                told = invoke("db", "upgrade")
                assert (told.exit_code, "owner's address" in told.stderr) == (2, True)
        migrate.upgrade(roles.owner)
        open_with_settings(configured(roles.worker, INGEST_AUTO_MIGRATE="on")).close()


@pytest.mark.parametrize("server", SERVERS)
def test_tables_that_somebody_else_has_made_become_the_owners(databases: Databases, server: str):
    """The script may come after years of one role for all, and again after that."""
    admin = databases(_server(server))
    migrate.upgrade(admin, "0007")
    with roles_on(admin) as roles:
        migrate.upgrade(roles.owner)
        again(roles)
        check_revision(roles.worker)
        with closing(open_store(roles.worker)) as store:
            ingest(store)
        migrate.downgrade(roles.owner, "0006")
        assert not refused(roles.worker, ROWS[1])
