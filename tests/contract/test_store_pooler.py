"""The store behind PgBouncer in transaction mode: every transaction on another connection."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from tests.contract.bench import Bench
from tests.distributed.fleet import wait_for
from worker.adapters.database import SqlStore, check_revision, open_store, run_lock
from worker.adapters.database.engine import migrate
from worker.adapters.database.engine.engines import parse
from worker.adapters.database.engine.runlock import is_locked
from worker.core.lifecycle import FileState, Lane
from worker.errors import ConfigurationError, RunInProgress
from worker.settings import Settings

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

SETTINGS = """
[databases]
{name} = host={host} port={port} user={user} {password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
logfile = {folder}/log
pidfile = {folder}/pid
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def pooled_url(postgres_url: str, tmp_path: Path) -> Iterator[str]:
    """The database's address through a pooler with three connections for everybody."""
    if PROGRAM is None:
        pytest.skip("no pgbouncer on this machine")
    url, port = make_url(postgres_url), free_port()
    text_of = SETTINGS.format(
        name=url.database,
        host=url.host,
        port=url.port or 5432,
        user=url.username,
        password=f"password={url.password}" if url.password else "",
        own=port,
        folder=tmp_path,
    )
    (tmp_path / "pgbouncer.ini").write_text(text_of)
    options = {}
    if os.geteuid() == 0:  # it refuses to run as root
        nobody = pwd.getpwnam("nobody")
        for path in (tmp_path, *list(tmp_path.parents)[:3]):
            path.chmod(0o755)
        shutil.chown(tmp_path, "nobody")
        options = {"user": nobody.pw_uid, "group": nobody.pw_gid}
    process = subprocess.Popen(
        [PROGRAM, "-q", str(tmp_path / "pgbouncer.ini")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **options,
    )
    try:
        wait_for(lambda: answers(port) or process.poll() is not None, "the pooler")
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(30)


def through(url: str) -> str:
    return f"{url}?pooler=transaction"


def test_batches_are_worked_on_behind_a_pooler(pooled_url: str):
    url = through(pooled_url)
    migrate.upgrade(url)
    check_revision(url)
    store = open_store(url, pool_size=8)

    def work(_: int) -> int:
        bench = Bench(store)
        claimed = bench.claim(Lane.SUBMIT, 5)
        bench.send(claimed.files)
        store.record([bench.accepted(file) for file in claimed.files])
        return len(claimed.files)

    try:
        batch = Bench(store).batch(60)
        with ThreadPoolExecutor(8) as pool:
            done = sum(pool.map(work, range(40)))
        assert done == 60
        assert store.status(batch).counts == {FileState.POLLING: 60}
        assert store._database.read(told) == ("UTC", "10s", "30s")
    finally:
        store.close()


def told(tx) -> tuple[str, ...]:
    names = ("timezone", "lock_timeout", "statement_timeout")
    return tuple(tx.run(text(f"SHOW {name}")).scalar_one() for name in names)


def test_a_run_is_alone_behind_a_pooler_too(pooled_url: str):
    url = through(pooled_url)
    with run_lock(url):
        assert is_locked(parse(url))
        with pytest.raises(RunInProgress), run_lock(url):
            pass
    with run_lock(url):
        pass
    assert not is_locked(parse(url))


def test_psycopg_s_threshold_may_stand_in_the_address(postgres_url: str):
    for value in ("none", "0", "5"):
        store: SqlStore = open_store(f"{postgres_url}?prepare_threshold={value}")
        assert store.now() > 0
        store.close()
    with pytest.raises(ConfigurationError, match="prepare_threshold"):
        open_store(f"{postgres_url}?prepare_threshold=never")


def test_the_setting_reaches_everything_that_connects(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INGEST_DATABASE_POOLER", "transaction")
    monkeypatch.setenv("INGEST_DATABASE_URL", "postgresql://h/x?connect_timeout=3")
    url = Settings.load().database_url
    assert url == "postgresql+psycopg://h/x?connect_timeout=3&pooler=transaction"
    for other in ("sqlite:///x.db", "mysql://h/x"):
        monkeypatch.setenv("INGEST_DATABASE_URL", other)
        with pytest.raises(ConfigurationError, match="INGEST_DATABASE_POOLER"):
            Settings.load()
    with pytest.raises(ConfigurationError, match="pooler"):
        open_store("mysql+pymysql://h/x?pooler=transaction")
