"""Who is measured, how each is started and handed files, and how one run is measured.

CPU is that of all processes of a contender. `total` has everything in it, from the first import;
`marginal` leaves out what a start costs: for a script the same script with five quick files is
subtracted, a worker's counts from the moment when it stands idle with five quick files behind it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any, Self

import psutil
from sqlalchemy import Engine, create_engine, make_url, text

from tests.bench import scenery
from tests.bench.scenery import PYTHON, ROOT, Stage, spent

PATIENCE = float(os.environ.get("BENCH_PATIENCE", "300"))


class RunFailed(RuntimeError):
    """A run that says nothing, because somebody ended its processes or it took too long."""


@dataclass(frozen=True)
class Figures:
    """One contender in one round; times in seconds, CPU per 1,000 files, memory in bytes."""

    files: int
    cpu_total: float
    cpu_marginal: float
    cpu_simulator: float
    cpu_database: float | None
    seconds: float
    files_per_second: float
    polls_per_file: float
    lag_p50: float
    lag_p95: float
    recorded_p50: float | None
    recorded_p95: float | None
    peak_rss: int
    uploads_in_flight: int
    simulator_busy: float
    elsewhere_busy: float
    load: float


# --- measuring -----------------------------------------------------------------------------------


@dataclass
class Watch:
    """The memory of some processes and their children, looked at twice a second."""

    roots: list[psutil.Process]
    peak: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._stop.wait(0.5):
            self.peak = max(self.peak, sum(map(_memory, family(self.roots))))


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def family(roots: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for root in roots:
        with suppress(psutil.Error):
            found += [root, *root.children(recursive=True)]
    return found


def cpu_of(roots: list[psutil.Process]) -> float:
    return sum(spent(process) for process in family(roots))


def machine_busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


@dataclass(frozen=True)
class Moment:
    """Where all counters stood."""

    clock: float
    simulator: float
    machine: float
    own: float

    @classmethod
    def now(cls, stage: Stage) -> Moment:
        own = time.process_time()
        return cls(time.monotonic(), stage.cpu(), machine_busy(), own)


def figures(
    stage: Stage,
    before: Moment,
    *,
    files: int,
    total: float,
    marginal: float,
    rss: int,
    recorded: dict[str, float],
    database: float | None = None,
) -> Figures:
    """What a run came to, from the counters and from what the service saw."""
    after = Moment.now(stage)
    summary, ledger = stage.summary(), stage.ledger()
    assert summary["uploads_taken"] == files, summary
    assert summary["terminal_served"] == files, summary
    assert summary["doubles"] == 0, summary
    elapsed = after.clock - before.clock
    simulator = after.simulator - before.simulator
    elsewhere = after.machine - before.machine - simulator - marginal - (after.own - before.own)
    seconds = max(u["first_terminal_at"] for u in ledger) - summary["first_upload_at"]
    lags = [recorded[str(u["id"])] - u["ready_at"] for u in ledger] if recorded else []
    cuts = quantiles(lags, n=100, method="inclusive") if lags else None
    per_thousand = 1000 / files
    return Figures(
        files=files,
        cpu_total=total * per_thousand,
        cpu_marginal=marginal * per_thousand,
        cpu_simulator=simulator * per_thousand,
        cpu_database=None if database is None else database * per_thousand,
        seconds=seconds,
        files_per_second=files / seconds,
        polls_per_file=summary["polls_per_file"],
        lag_p50=summary["lag"]["p50"],
        lag_p95=summary["lag"]["p95"],
        recorded_p50=cuts and cuts[49],
        recorded_p95=cuts and cuts[94],
        peak_rss=rss,
        uploads_in_flight=summary["uploads_in_flight_max"],
        simulator_busy=simulator / elapsed,
        elsewhere_busy=elsewhere / elapsed,
        load=os.getloadavg()[0],
    )


def run_to_end(arguments: list[str], environment: dict[str, str], log: Path) -> tuple[float, int]:
    """A command's CPU seconds, children included, and its peak memory; it must end well."""
    with log.open("ab") as out:
        process = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=out, stderr=out)
        with Watch([psutil.Process(process.pid)]) as watch:
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RunFailed(f"{arguments} ended with {process.returncode}, see {log}")
    return usage.ru_utime + usage.ru_stime, max(watch.peak, usage.ru_maxrss * 1024)


# --- contenders that are one command -------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """The folders of the files to ingest, and of the few to warm up with."""

    all: Path
    warm: Path
    count: int


@dataclass(frozen=True)
class Script:
    """A script without a database."""

    client: str

    def measure(self, stage: Stage, files: Files, folder: Path) -> Figures:
        log = folder / "script.log"
        arguments = [PYTHON, "-m", "tests.bench.bare", self.client]
        environment = stage.environment()
        start, _ = run_to_end([*arguments, str(files.warm)], environment, log)
        stage.reset()
        before = Moment.now(stage)
        cpu, rss = run_to_end([*arguments, str(files.all)], environment, log)
        return figures(
            stage,
            before,
            files=files.count,
            total=cpu,
            marginal=cpu - start,
            rss=rss,
            recorded={},
        )


@dataclass(frozen=True)
class Embedded:
    """`chatflow-ingest run` on SQLite."""

    def measure(self, stage: Stage, files: Files, folder: Path) -> Figures:
        log = folder / "run.log"
        start, _ = self._run(stage, files.warm, folder / "warm.db", log)
        stage.reset()
        before = Moment.now(stage)
        cpu, rss = self._run(stage, files.all, folder / "run.db", log)
        return figures(
            stage,
            before,
            files=files.count,
            total=cpu,
            marginal=cpu - start,
            rss=rss,
            recorded=recorded_in(f"sqlite:///{folder / 'run.db'}"),
        )

    def _run(self, stage: Stage, inbox: Path, database: Path, log: Path) -> tuple[float, int]:
        environment = stage.environment() | {
            "INGEST_DATABASE_URL": f"sqlite:///{database}",
            "INGEST_ROOTS": str(inbox),
        }
        return run_to_end([PYTHON, "-m", "worker.cli", "run", str(inbox)], environment, log)


# --- contenders that are workers -----------------------------------------------------------------


@dataclass(frozen=True)
class Fleet:
    """Workers on a broker and a database, and a command that hands files in."""

    server: str
    broker: str
    workers: int = 1

    def measure(self, stage: Stage, files: Files, folder: Path) -> Figures:
        with ExitStack() as exits:
            url = exits.enter_context(scenery.database(self.server))
            scenery.empty_broker(self.broker)
            exits.callback(scenery.empty_broker, self.broker)
            environment = stage.environment() | self._environment(url, files)
            self._prepare(url, environment, folder)
            engine = exits.enter_context(looking_at(url))
            processes = exits.enter_context(self._started(environment, folder))
            roots = [psutil.Process(process.pid) for process in processes]
            start = self._hand_in(environment, files.warm, folder)
            self._await(engine, processes, scenery.WARM_FILES)
            time.sleep(3)  # the shift of the first files ends
            stage.reset()
            before, cpu_before, database_before = Moment.now(stage), cpu_of(roots), _backends(url)
            with Watch(roots) as watch:
                handed_in = self._hand_in(environment, files.all, folder)
                self._await(engine, processes, scenery.WARM_FILES + files.count)
            cpu = cpu_of(roots)
            return figures(
                stage,
                before,
                files=files.count,
                total=cpu + handed_in,
                marginal=cpu - cpu_before + handed_in - start,
                rss=watch.peak,
                recorded=self._recorded(url),
                database=_grown(database_before, _backends(url)),
            )

    # --- what differs between ours and the usual way ---

    def _environment(self, url: str, files: Files) -> dict[str, str]:
        return {
            "INGEST_DATABASE_URL": url,
            "INGEST_BROKER_URL": self.broker,
            "INGEST_ROOTS": str(files.all.parent),
            "INGEST_LOG_LEVEL": "WARNING",
        }

    def _prepare(self, url: str, environment: dict[str, str], folder: Path) -> None:
        arguments = [PYTHON, "-m", "worker.cli", "db", "upgrade"]
        run_to_end(arguments, environment, folder / "upgrade.log")

    def _command(self) -> list[str]:
        return ["-A", "worker", "worker"]

    def _hand_in(self, environment: dict[str, str], inbox: Path, folder: Path) -> float:
        arguments = [PYTHON, "-m", "worker.cli", "submit", str(inbox)]
        return run_to_end(arguments, environment, folder / "submit.log")[0]

    def _finished(self) -> str:
        return "SELECT COUNT(*) FROM results"

    def _recorded(self, url: str) -> dict[str, float]:
        return recorded_in(url)

    # --- the same for both ---

    @contextmanager
    def _started(
        self, environment: dict[str, str], folder: Path
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        processes = []
        with (folder / "workers.log").open("ab") as log:
            for number in range(self.workers):
                name = f"bench{number}@localhost"
                arguments = [PYTHON, "-m", "celery", *self._command(), "-n", name]
                processes.append(
                    subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=log, stderr=log)
                )
            try:
                yield processes
            finally:
                for process in processes:
                    process.send_signal(signal.SIGTERM)
                for process in processes:
                    _wait_or_kill(process)

    def _await(self, engine: Engine, processes: list[subprocess.Popen[bytes]], files: int) -> None:
        end = time.monotonic() + PATIENCE
        statement = text(self._finished())
        while True:
            with engine.connect() as connection:
                if connection.execute(statement).scalar_one() >= files:
                    return
            if any(process.poll() is not None for process in processes):
                raise RunFailed("a worker was ended by somebody else")
            if time.monotonic() > end:
                raise RunFailed(f"{self} did not finish {files} files")
            time.sleep(0.25)


@dataclass(frozen=True)
class Usual(Fleet):
    """One task per file and step; see `tests.bench.usual`."""

    def _environment(self, url: str, files: Files) -> dict[str, str]:
        return {"USUAL_DATABASE_URL": url, "USUAL_BROKER_URL": self.broker}

    def _prepare(self, url: str, environment: dict[str, str], folder: Path) -> None:
        words = "from tests.bench.usual import Base, engine; Base.metadata.create_all(engine())"
        run_to_end([PYTHON, "-c", words], environment, folder / "create.log")

    def _command(self) -> list[str]:
        return ["-A", "tests.bench.usual", "worker", "-c", str(scenery.UPLOADS)]

    def _hand_in(self, environment: dict[str, str], inbox: Path, folder: Path) -> float:
        words = "import sys, pathlib as p, tests.bench.usual as u; u.hand_in(p.Path(sys.argv[1]))"
        arguments = [PYTHON, "-c", words, str(inbox)]
        return run_to_end(arguments, environment, folder / "submit.log")[0]

    def _finished(self) -> str:
        return "SELECT COUNT(*) FROM usual_files WHERE state = 'done'"

    def _recorded(self, url: str) -> dict[str, float]:
        statement = "SELECT remote_id, recorded_at FROM usual_files WHERE state = 'done'"
        return {str(row[0]): row[1].timestamp() for row in _rows(url, statement)}


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- looking at databases ------------------------------------------------------------------------


@contextmanager
def looking_at(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _rows(url: str, statement: str) -> list[Any]:
    with looking_at(url) as engine, engine.connect() as connection:
        return list(connection.execute(text(statement)))


def recorded_in(url: str) -> dict[str, float]:
    """When each file's result was recorded, by the service's id."""
    statement = (
        "SELECT f.chatflow_file_id, r.recorded_at FROM files f JOIN results r ON r.file_id = f.id"
    )
    return {str(row[0]): _posix(row[1]) for row in _rows(url, statement)}


def _posix(moment: datetime | str) -> float:
    read = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _backends(url: str) -> dict[int, float] | None:
    """CPU seconds of PostgreSQL's processes that serve this database, where they can be seen."""
    if not url.startswith("postgresql"):
        return None
    name = make_url(url).database
    statement = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}'"
    found = {}
    for row in _rows(url, statement):
        with suppress(psutil.Error):
            found[int(row[0])] = spent(psutil.Process(int(row[0])))
    return found


def _grown(before: dict[int, float] | None, after: dict[int, float] | None) -> float | None:
    if before is None or not after:
        return None
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


# --- all of them ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contender:
    key: str
    label: str
    measure: Callable[[Stage, Files, Path], Figures]


def contenders() -> list[Contender]:
    bare = [
        ("a", "bare script, aiohttp", "aiohttp"),
        ("a2", "bare script, httpx on aiohttp", "httpx-aiohttp"),
        ("b", "bare script, httpx's own transport", "httpx"),
    ]
    postgres, maria = scenery.POSTGRES, scenery.MARIADB
    redis, rabbit = scenery.REDIS, scenery.RABBITMQ
    return [
        *(Contender(key, label, Script(client).measure) for key, label, client in bare),
        Contender("c", "a task per file and step", Usual(postgres, redis).measure),
        Contender("d", "ours, run on SQLite", Embedded().measure),
        Contender("e1", "ours, PostgreSQL + Redis", Fleet(postgres, redis).measure),
        Contender("e2", "ours, the same, 2 workers", Fleet(postgres, redis, 2).measure),
        Contender("f", "ours, MariaDB + RabbitMQ", Fleet(maria, rabbit).measure),
    ]


def as_plain(measured: Figures) -> dict[str, Any]:
    return asdict(measured)
