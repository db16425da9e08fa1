"""What every contender meets: the simulated service, the files, and fresh databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import psutil
from sqlalchemy import URL, create_engine, make_url, text

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable

FILES = int(os.environ.get("BENCH_FILES", "600"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
FILE_BYTES = int(os.environ.get("BENCH_FILE_BYTES", "20000"))
MEDIAN = float(os.environ.get("BENCH_READY_MEDIAN", "2"))
P95 = float(os.environ.get("BENCH_READY_P95", "6"))
UPLOADS = 8
"""Uploads in flight, the same for all."""
PER_DIALOG = 5
UPLOAD_SECONDS = float(os.environ.get("BENCH_UPLOAD_SECONDS", "0"))
"""How long the service takes to answer an upload: 0.5 makes a trickle of 16 files a second."""
WARM_FILES = 5

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
MARIADB = os.environ.get("TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test")
REDIS = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/9")
RABBITMQ = os.environ.get("BENCH_RABBITMQ_URL") or os.environ.get(
    "TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//"
)

SCENARIO = f"""
seed = 7
time_to_ready = {{ kind = "lognormal", median = {MEDIAN}, p95 = {P95} }}

[[categories]]
id = 1
name = "Document"
support_formats = "txt"
upload_max_num = {PER_DIALOG}
variable_assign = "document"

[[rules]]
file_name = "warm-*"
time_to_ready = {{ kind = "fixed", seconds = 0.2 }}

[limits]
enforce_places = true

[[faults]]
do = "slow"
on = "upload"
seconds = {UPLOAD_SECONDS}
"""


# --- the service ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """The simulator in a process of its own."""

    url: str
    process: psutil.Process

    def cpu(self) -> float:
        return spent(self.process)

    def reset(self) -> None:
        self._ask("/_simulator/reset", b"")

    def summary(self) -> dict[str, Any]:
        return self._ask("/_simulator/summary")

    def ledger(self) -> list[dict[str, Any]]:
        uploads: list[dict[str, Any]] = self._ask("/_simulator/ledger?contents=no")["uploads"]
        return uploads

    def environment(self) -> dict[str, str]:
        """What a program under test needs to know, and nothing of the caller's configuration."""
        mine = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CHATFLOW_", "INGEST_"))
        }
        return mine | {
            "CHATFLOW_BASE_URL": self.url,
            "CHATFLOW_ROBOT_KEY": "demo-key",
            "CHATFLOW_ROBOT_TOKEN": "demo-token",
            "CHATFLOW_USERNAME": "demo",
            "INGEST_MAX_CONCURRENT_UPLOADS": str(UPLOADS),
            "PYTHONPATH": str(ROOT),
        }

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(self.url + path, body, timeout=60) as reply:
            content = reply.read()
        return json.loads(content) if content else None


@contextmanager
def simulator(folder: Path, scenario: str = SCENARIO) -> Iterator[Stage]:
    """Serve a scenario from a process of its own."""
    told = folder / "scenario.toml"
    told.write_text(scenario)
    arguments = [PYTHON, "-m", "worker.simulator", "--port", "0", "--scenario", str(told)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            yield Stage(url, psutil.Process(process.pid))
        finally:
            process.terminate()


def spent(process: psutil.Process) -> float:
    """CPU seconds of a process and of its children that have ended."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


# --- files ---------------------------------------------------------------------------------------


def write_files(folder: Path, count: int, prefix: str = "file", size: int = FILE_BYTES) -> Path:
    """Different bytes in each, so that the service can tell them apart."""
    folder.mkdir(parents=True)
    random = Random(prefix)
    for number in range(count):
        (folder / f"{prefix}-{number:06}.txt").write_bytes(random.randbytes(size))
    return folder


# --- databases -----------------------------------------------------------------------------------


@contextmanager
def database(server: str) -> Iterator[str]:
    """A database of our own on a server, dropped afterwards."""
    name = f"bench_{uuid4().hex[:12]}"
    _administer(server, f"CREATE DATABASE {name}")
    try:
        yield _shown(make_url(server).set(database=name))
    finally:
        force = " WITH (FORCE)" if server.startswith("postgresql") else ""
        _administer(server, f"DROP DATABASE {name}{force}")


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder / f'bench-{uuid4().hex[:12]}.db'}"


def _administer(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def empty_broker(url: str) -> None:
    """Take away what a former run left in a broker that is ours alone."""
    from kombu import Connection

    with Connection(url) as connection:
        if url.startswith("redis"):
            connection.default_channel.client.flushdb()
            return
        for queue in ("celery", "ingest.submit", "ingest.poll", "ingest.notify"):
            channel = connection.channel()  # a queue that is not there costs us the channel
            with suppress(*connection.channel_errors):
                channel.queue_delete(queue)
