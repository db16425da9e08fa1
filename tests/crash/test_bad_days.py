"""Bad days of the places that a fleet stands on: a dead line, a full disk, a server that is lost."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.crash import servers
from tests.crash.conftest import CrashFleet, Pair
from tests.crash.servers import Server
from tests.crash.wire import Wire
from tests.distributed.fleet import QUICK, wait_for
from worker.adapters.database.store import open_store
from worker.simulator import running

FILES = 60
SLOW = QUICK | {"faults": [{"on": "upload", "do": "slow", "seconds": 0.2}]}


def taken(fleet: CrashFleet) -> int:
    return int(fleet.simulator.summary()["uploads_taken"])


def conclude(fleet: CrashFleet, batch, paths: list[str]) -> None:
    fleet.await_finish(batch)
    found = fleet.check(batch, paths)
    assert not found.unknown
    assert {line["state"] for line in fleet.results(batch).values()} == {"succeeded"}


# --- the network between worker and server goes dead ---------------------------------------------


@pytest.fixture
def wires(fleet: CrashFleet) -> Iterator[dict[str, Wire]]:
    """Both servers at the end of a wire, for the fleet; the test itself asks them directly."""
    ends = {"INGEST_DATABASE_URL": fleet.database_url, "INGEST_BROKER_URL": fleet.broker_url}
    with ExitStack() as exits:
        wires = {}
        for name, url in ends.items():
            wire = wires[name] = Wire(make_url(url).port)
            exits.callback(wire.close)
            fleet.environment[name] = wire.instead_of(url)
        yield wires


@pytest.mark.parametrize("end", ["INGEST_DATABASE_URL", "INGEST_BROKER_URL"])
def test_the_line_to_a_server_goes_dead_for_a_while(fleet: CrashFleet, wires, end):
    fleet.simulator.set_scenario(SLOW)
    paths = fleet.put("f-{}.wav", FILES)
    for _ in range(2):
        fleet.worker()
    batch = fleet.hand_in_durably(paths)
    wait_for(lambda: taken(fleet) >= 10, "work")
    with wires[end].cut():
        time.sleep(8)
    fleet.await_finish(batch)
    fleet.check(batch, paths)
    assert {line["state"] for line in fleet.results(batch).values()} == {"succeeded"}


# --- the database's server is lost, and another takes over ---------------------------------------


def home(exits: ExitStack) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ingest-crash-"))
    folder.chmod(0o755)
    exits.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def on(pair: Pair, database: Server, url: str, folder: Path, exits: ExitStack) -> CrashFleet:
    store = open_store(url)
    simulator = exits.enter_context(running(SLOW))
    exits.callback(store.close)
    other = Pair(pair.name, database, pair.broker)
    return CrashFleet(folder, url, pair.broker.url, simulator, store, exits, pair=other)


postgresql_alone = pytest.mark.parametrize(
    "pair", ["postgresql-redis"], indirect=True, scope="session"
)


@pytest.fixture
def readied(pair: Pair) -> Pair:
    pair.up()
    pair.flush()
    return pair


def started(server: Server, exits: ExitStack) -> Server:
    server.start()
    exits.callback(server.kill)
    return server


@postgresql_alone
def test_a_standby_is_promoted_in_the_middle_of_a_batch(readied: Pair, tmp_path):
    """A standby that confirms each transaction loses none, and both addresses are given."""
    with ExitStack() as exits:
        first, second = home(exits), home(exits)
        primary = started(
            servers.postgresql(first, synchronous_standby_names="*", synchronous_commit="local"),
            exits,
        )
        url = Pair("", primary, primary).fresh_database()
        standby = started(servers.standby(second, primary), exits)
        wait_for(lambda: followers(primary) == ["sync"], "the standby to follow")
        insist(primary)
        ports = [make_url(server.url).port for server in (primary, standby)]
        hosts = "&".join(f"host=127.0.0.1:{port}" for port in ports)
        name = make_url(url).database
        either = f"postgresql+psycopg://postgres@/{name}?{hosts}&target_session_attrs=read-write"
        fleet = on(readied, standby, either, tmp_path, exits)
        paths = fleet.put("f-{}.wav", FILES)
        for _ in range(2):
            fleet.worker()
        batch = fleet.hand_in_durably(paths)
        wait_for(lambda: taken(fleet) >= 10, "work")
        primary.kill()
        servers.promote(standby)
        conclude(fleet, batch, paths)


def followers(server: Server) -> list[str]:
    return [row.sync_state for row in ask(server, "SELECT sync_state FROM pg_stat_replication")]


def insist(server: Server) -> None:
    """From now on a transaction is done when the standby has it, too."""
    ask(server, "ALTER SYSTEM SET synchronous_commit = 'on'")
    ask(server, "SELECT pg_reload_conf()")


def ask(server: Server, statement: str) -> list:
    engine = create_engine(server.url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            answer = connection.execute(text(statement))
            return list(answer) if answer.returns_rows else []
    finally:
        engine.dispose()


# --- the database's disk is full -----------------------------------------------------------------


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own that a test can fill."""
    folder = Path(tempfile.mkdtemp(prefix="ingest-crash-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m,mode=755", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip("this machine lets nobody mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


@postgresql_alone
def test_the_databases_disk_is_full_for_a_while(readied: Pair, small_disk, tmp_path):
    with ExitStack() as exits:
        database = started(
            servers.postgresql(small_disk, max_wal_size="32MB", min_wal_size="32MB"), exits
        )
        url = Pair("", database, database).fresh_database()
        fleet = on(readied, database, url, tmp_path, exits)
        paths = fleet.put("f-{}.wav", FILES)
        worker = fleet.worker()
        batch = fleet.hand_in_durably(paths)
        wait_for(lambda: taken(fleet) >= 10, "work")
        with (small_disk / "filler").open("wb") as filler:
            try:
                while True:
                    filler.write(bytes(2**16))
                    filler.flush()
            except OSError:
                worker.await_word("store_unavailable")
        (small_disk / "filler").unlink()
        if database.process is not None and database.process.poll() is not None:
            database.start()  # one that can't write its log ends itself
        conclude(fleet, batch, paths)
