"""Private servers in two pairs, a fleet on them whose leases are short, and a tally of it all."""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from kombu import Connection
from sqlalchemy import create_engine, make_url, text

from tests.crash import servers
from tests.crash.servers import Server
from tests.distributed.audit import Findings, audit
from tests.distributed.fleet import QUICK, ROOT, Fleet, Process
from worker.adapters.database import open_store
from worker.adapters.database.engine import migrate
from worker.client import submit_batch
from worker.simulator import running

LAUNCHER = str(ROOT / "tests" / "crash" / "launcher.py")
LEASE = 2.0
TIMINGS = json.dumps({"lease": LEASE, "renew_every": 0.5, "settle_delay": 1.0, "share_ttl": 2.0})
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "1"))

PAIRS: dict[str, tuple[Callable[[Path], Server], Callable[[Path], Server]]] = {
    "postgresql-redis": (servers.postgresql, servers.redis),
    "mariadb-rabbitmq": (servers.mariadb, servers.rabbitmq),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/crash" in item.path.as_posix():
            item.add_marker(pytest.mark.crash)
            item.add_marker(pytest.mark.timeout(300))


@dataclass
class Pair:
    """A database and a broker that belong together for a test."""

    name: str
    database: Server
    broker: Server

    def up(self) -> None:
        """Start whatever an earlier test left dead."""
        for server in (self.database, self.broker):
            if server.process is None or server.process.poll() is not None:
                server.start()

    def fresh_database(self) -> str:
        name = f"crash_{uuid4().hex[:12]}"
        engine = create_engine(self.database.url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
        finally:
            engine.dispose()
        url = make_url(self.database.url).set(database=name)
        shown = url.render_as_string(hide_password=False)
        migrate.upgrade(shown)
        return shown

    def flush(self) -> None:
        """Throw away every message that the broker holds."""
        with Connection(self.broker.url) as connection:
            channel: Any = connection.default_channel
            if self.broker.url.startswith("redis"):
                channel.client.flushall()
            else:
                for queue in ("celery", "ingest.submit", "ingest.poll", "ingest.notify"):
                    with _forgiving(connection) as each:
                        each.queue_purge(queue)


@contextmanager
def _forgiving(connection: Connection) -> Iterator[Any]:
    """A channel for one command: one that fails closes its channel."""
    channel: Any = connection.channel()
    try:
        yield channel
    except connection.channel_errors:
        pass
    else:
        channel.close()


@pytest.fixture(scope="session", params=list(PAIRS))
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    folder = Path(tempfile.mkdtemp(prefix="ingest-crash-"))
    folder.chmod(0o755)  # PostgreSQL runs under an account of its own
    made = []
    try:
        for make in PAIRS[request.param]:
            home = folder / make.__name__
            home.mkdir()
            made.append(make(home))
        database, broker = made
        for server in made:
            server.start()
        yield Pair(request.param, database, broker)
    finally:
        for server in made:
            server.kill()
            server.close()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class CrashFleet(Fleet):
    """A fleet whose workers hold short leases."""

    pair: Pair = field(kw_only=True)
    kills: int = 0

    def worker(self, *options: str, ready: bool = True, **wishes: Any) -> Process:
        self.started += 1
        process = self.launch(f"w{self.started}", "worker", "--without-mingle", *options, **wishes)
        if ready:
            process.await_word('"worker_ready"')
        return process

    def launch(self, name: str, command: str, *options: str, **wishes: Any) -> Process:
        node = ["-n", f"{name}@test"] if command == "worker" else []
        launch = json.dumps(wishes)
        arguments = ["-W", "ignore", LAUNCHER, "-A", "worker", command, *node, *options]
        return self.start(name, *arguments, LAUNCH=launch, INGEST_TIMINGS=TIMINGS)

    def kill(self, process: Process) -> None:
        process.kill()
        self.kills += 1

    def hand_in(self, paths: list[str]) -> UUID:
        """Through the broker, as an upstream job does."""
        return submit_batch(self.client(), paths)

    def hand_in_durably(self, paths: list[str]) -> UUID:
        """Through the command line, which has it in the database when it returns."""
        done = self.cli("submit", *paths, "--json")
        assert done.returncode == 0, done.stderr
        return UUID(json.loads(done.stdout)["batch_id"])

    def await_finish(self, batch: UUID | str, within: float = 120.0) -> None:
        try:
            super().await_finish(batch, within)
        except pytest.fail.Exception as failed:
            logs = "".join(f"--- {p.name}\n{p.read_text()[-3000:]}" for p in self.logs())
            pytest.fail(f"{failed.msg}: {self.counts(batch)}\n{logs}")

    def logs(self) -> list[Path]:
        return sorted(self.folder.glob("*.log"))

    def check(self, batch: UUID, paths: list[str]) -> Findings:
        """Audit a finished batch, and add what was found to the tally."""
        found = audit(self, batch, paths)
        _tally.append((self.pair.name, self.kills, found))
        print(f"{self.pair.name}: {found}; {self.kills} kills")
        assert not found.faults, "\n".join(found.faults)
        for path in self.logs():
            # Libraries tell of lost connections at length; our own code has no business in it.
            words = path.read_text(errors="replace")
            assert f"{ROOT}/worker/steps" not in words, words[-4000:]
            assert "step_failed" not in words, words[-4000:]
        return found


@pytest.fixture
def fleet(pair: Pair, tmp_path: Path) -> Iterator[CrashFleet]:
    pair.up()
    pair.flush()
    database = pair.fresh_database()
    store = open_store(database)
    with ExitStack() as exits:
        simulator = exits.enter_context(running(QUICK))
        exits.callback(store.close)
        yield CrashFleet(tmp_path, database, pair.broker.url, simulator, store, exits, pair=pair)


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Chance whose seed is told; `CRASH_SEED` repeats it."""
    seed = os.environ.get("CRASH_SEED") or str(random.randrange(10**9))
    print(f"CRASH_SEED={seed}")
    return random.Random(f"{seed} {request.node.name}")


_tally: list[tuple[str, int, Findings]] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _tally:
        return
    terminalreporter.write_sep("-", "crash rounds")
    for name in PAIRS:
        of_pair = [(kills, found) for pair, kills, found in _tally if pair == name]
        if of_pair:
            total = Findings(
                files=sum(f.files for _, f in of_pair),
                uploads=sum(f.uploads for _, f in of_pair),
                doubles=sum(f.doubles for _, f in of_pair),
                unknown=sum(f.unknown for _, f in of_pair),
                poisoned=sum(f.poisoned for _, f in of_pair),
                faults=[fault for _, f in of_pair for fault in f.faults],
            )
            kills = sum(kills for kills, _ in of_pair)
            terminalreporter.write_line(f"{name}: {len(of_pair)} rounds, {kills} kills, {total}")
