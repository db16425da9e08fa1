"""Locks between processes, forks, and what a process leaves behind when it dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, make_url, null, text

from tests.contract.bench import Bench
from worker.adapters.database import SqlStore, run_lock
from worker.adapters.database.engine.failures import is_conflict
from worker.adapters.database.tables import files
from worker.errors import RunInProgress, StoreFault, StoreUnavailable

TOP = Path(__file__).parents[2]
HOLDER = """
import sys
from worker.adapters.database import run_lock
with run_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(url: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", HOLDER, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=TOP, **pipes) as process:
        try:
            assert process.stdout.readline().strip() == "held"
            yield process
        finally:
            process.kill()


def test_one_run_at_a_time_and_a_killed_one_frees_the_lock(database_url: str):
    with holder(database_url) as process:
        with pytest.raises(RunInProgress), run_lock(database_url):
            pytest.fail("two held the lock")
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        _take_soon(database_url)


def _take_soon(url: str) -> None:
    """A server notices a closed connection on its own thread, a moment later."""
    for _ in range(10_000):
        try:
            with run_lock(url):
                return
        except RunInProgress:
            continue
    pytest.fail("the lock was never freed")


def test_the_lock_is_free_after_use_also_after_an_error(database_url: str):
    with pytest.raises(ZeroDivisionError), run_lock(database_url):
        raise ZeroDivisionError
    with run_lock(database_url):
        pass


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # threads of earlier tests
def test_a_store_survives_a_fork(store: SqlStore):
    bench = Bench(store)
    bench.batch(1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            claim = bench.claim()
            os.write(writer, str(len(claim.files)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reader, 10) == b"1"
    os.close(reader)
    assert bench.claim().files == ()
    assert bench.count("files", "lease_token IS NOT NULL") == 1


def test_a_connection_that_broke_is_replaced(postgres_url: str, open_stores_on):
    store = open_stores_on(postgres_url)
    with pytest.raises(StoreUnavailable):
        store._database.write(
            lambda tx: tx.run(text("SELECT pg_terminate_backend(pg_backend_pid())")) and None
        )
    assert store.now() > 0


def test_a_broken_mariadb_connection_is_replaced(mariadb_url: str, open_stores_on):
    store = open_stores_on(mariadb_url)
    with pytest.raises(StoreUnavailable):
        store._database.write(lambda tx: tx.run(text("KILL CONNECTION_ID()")) and None)
    assert store.now() > 0


KILL_OTHERS = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "KILL {}",
}


def kill_connections_of(store: SqlStore, url: str, open_stores_on) -> None:
    """Break the store's pooled connections from another one, as a restarted server does."""
    own = {"postgresql": "0", "mysql": "CONNECTION_ID()"}[url.partition("+")[0]]
    number = store._database.read(lambda tx: tx.run(text(f"SELECT {own}")).scalar_one())
    kill = KILL_OTHERS[url.partition("+")[0]].format(number)
    open_stores_on(url)._database.write(lambda tx: tx.run(text(kill)) and None)


@pytest.mark.parametrize("server", ["postgres_url", "mariadb_url"])
def test_a_connection_that_died_idle_is_replaced_unnoticed(
    server: str, request, open_stores_on, monkeypatch
):
    monkeypatch.setattr("worker.adapters.database.engine.engines.PING_AFTER", 0.0)
    url = request.getfixturevalue(server)
    store = open_stores_on(url)
    kill_connections_of(store, url, open_stores_on)
    assert store.now() > 0


@pytest.mark.parametrize("server", ["postgres_url", "mariadb_url"])
def test_a_connection_that_died_just_now_is_told_once(server: str, request, open_stores_on):
    url = request.getfixturevalue(server)
    store = open_stores_on(url)
    kill_connections_of(store, url, open_stores_on)
    with pytest.raises(StoreUnavailable):
        store.now()
    assert store.now() > 0


@pytest.fixture
def open_stores_on() -> Iterator:
    from worker.adapters.database import open_store

    stores: list[SqlStore] = []

    def another(url: str) -> SqlStore:
        stores.append(open_store(url))
        return stores[-1]

    yield another
    for store in stores:
        store.close()


def test_a_transaction_that_loses_a_conflict_is_run_again(postgres_url: str, open_stores_on):
    store = open_stores_on(postgres_url)
    tries = []

    def lose_twice(tx):
        tries.append(1)
        if len(tries) < 3:
            tx.run(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$"))
        return len(tries)

    assert store._database.write(lose_twice) == 3


def test_mistakes_of_ours_are_not_called_an_outage(store: SqlStore):
    with pytest.raises(Exception, match=r"(?i)syntax") as caught:
        store._database.read(lambda tx: tx.run(text("SELEKT 1")) and None)
    assert not is_conflict(caught.value)


def test_statements_carry_no_values_in_their_errors(store: SqlStore):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - what it is called differs by driver
        store._database.read(
            lambda tx: (
                tx.run(text("SELECT :word FROM nowhere_at_all"), {"word": "topsecret"}) and None
            )
        )
    assert "topsecret" not in str(caught.value)
    assert "topsecret" not in str(caught.value.__cause__)


SET_READ_ONLY = "ALTER DATABASE {} SET default_transaction_read_only = {}"


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """As a standby, or a server that guards its last disk space, behaves for a while."""
    name = make_url(url).database

    def switch(value: str) -> None:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("SET default_transaction_read_only = off"))
            connection.execute(text(SET_READ_ONLY.format(name, value)))
            connection.execute(text(KILL_OTHERS["postgresql"]))
        engine.dispose()

    switch("on")
    try:
        yield
    finally:
        switch("off")


def test_a_read_only_postgresql_is_waited_for(postgres_url: str, open_stores_on):
    store = open_stores_on(postgres_url)
    with read_only(postgres_url):
        for _ in range(3):  # the first ones may meet a connection that was cut off
            with pytest.raises(StoreUnavailable) as refused:
                Bench(store).batch()
        assert "read-only" in str(refused.value)
        assert store.now() > 0
    store.close()
    Bench(store).batch()


def test_the_connections_to_a_server_that_became_read_only_are_given_up(
    postgres_url: str, open_stores_on
):
    # Behind an address that moves to the new primary, old connections still lead to the old one.
    store = open_stores_on(postgres_url)
    frozen = text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")

    @event.listens_for(store._database.engine, "connect", once=True)
    def standby(connection: Any, _record: Any) -> None:
        connection.execute(frozen.text)
        connection.commit()

    with pytest.raises(StoreUnavailable, match="read-only"):
        Bench(store).batch()
    Bench(store).batch()


def test_a_value_that_a_database_refuses_harms_only_its_own_statement(store: SqlStore):
    batch = Bench(store).batch(1)
    with pytest.raises(StoreFault):
        store._database.write(lambda tx: tx.run(files.update().values(turn=null()), {}) and None)
    assert store.status(batch).total == 1


def test_a_database_is_locked_by_whatever_name_it_is_called(sqlite_url: str, tmp_path: Path):
    link, folder = tmp_path / "link.db", tmp_path / "folder"
    link.symlink_to(sqlite_url.removeprefix("sqlite:///"))
    folder.symlink_to(tmp_path)
    with run_lock(sqlite_url):
        for name in (link, folder / "ingest.db", tmp_path / "." / "ingest.db"):
            with pytest.raises(RunInProgress), run_lock(f"sqlite:///{name}"):
                pass
