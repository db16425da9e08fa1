"""A fleet for a test: real worker processes, a real broker and database, a simulated service.

The service runs in the test's own process, so its ledger and scenario are at hand.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from celery import Celery

from tests.warm import Warm, run
from worker.adapters.database import SqlStore
from worker.errors import IngestError
from worker.simulator import RunningSimulator

ROOT = Path(__file__).resolve().parents[2]
KEY, TOKEN, USER = "demo-key", "demo-token", "demo"
PATIENCE = 60.0
PAIRS = ("postgresql-redis", "mariadb-rabbitmq")

ANYTHING = [
    {
        "id": 1,
        "name": "Anything",
        "support_formats": "wav,pdf,txt",
        "upload_max_num": 5,
        "variable_assign": "content",
    }
]
"""One category; a dialog has room for five files, so that every batch needs several."""

QUICK = {
    "strict": True,
    "categories": ANYTHING,
    "time_to_ready": {"kind": "fixed", "seconds": 0.2},
    "parse_content": {"shape": "json", "segments": [{"text": "words of {file_name}"}]},
}
"""A scenario that is ready at the first poll and says each file's name in its contents."""


def wait_for(condition: Callable[[], Any], what: str, within: float = PATIENCE) -> Any:
    """Look until a condition holds, and return what it found."""
    end = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {within:g} s in vain for {what}")
        time.sleep(0.03)
    return found


class Process:
    """A process with its output in a file."""

    def __init__(self, name: str, command: list[str], folder: Path, environment: dict[str, str]):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self.popen = Warm(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def await_word(self, word: str, within: float = PATIENCE) -> None:
        """Wait until the process says it."""

        def heard() -> bool:
            if word in self.said:
                return True
            if not self.alive:
                pytest.fail(f"{self.name} ended with {self.popen.returncode}:\n{self.said}")
            return False

        wait_for(heard, f"{self.name} to say {word!r}", within)

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def end(self, number: int = signal.SIGTERM, within: float = PATIENCE) -> int:
        """Send a signal and return the exit code."""
        self.send(number)
        return self.popen.wait(within)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        if self.alive:
            with suppress(ProcessLookupError):
                self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(PATIENCE)


@dataclass
class Fleet:
    """One installation: its environment, and the processes that a test starts in it."""

    folder: Path
    database_url: str
    broker_url: str
    simulator: RunningSimulator
    store: SqlStore
    exits: ExitStack
    environment: dict[str, str] = field(default_factory=dict)
    started: int = 0

    def __post_init__(self) -> None:
        self.inbox.mkdir(exist_ok=True)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CHATFLOW_", "INGEST_", "COVERAGE_", "FLOWER_"))
        }
        self.environment = inherited | {
            "PYTHONPATH": str(ROOT),
            "CHATFLOW_BASE_URL": self.simulator.url,
            "CHATFLOW_ROBOT_KEY": KEY,
            "CHATFLOW_ROBOT_TOKEN": TOKEN,
            "CHATFLOW_USERNAME": USER,
            "INGEST_DATABASE_URL": self.database_url,
            "INGEST_BROKER_URL": self.broker_url,
            "INGEST_ROOTS": str(self.inbox),
            "INGEST_SECRETS_DIR": str(self.folder),
            "INGEST_LOG_FORMAT": "json",
        }

    @property
    def inbox(self) -> Path:
        return self.folder / "in"

    # --- files ---

    def put(self, pattern: str, count: int, first: int = 0) -> list[str]:
        """Write files whose content is their name; returns their paths."""
        paths = [self.inbox / pattern.format(n) for n in range(first, first + count)]
        for path in paths:
            path.write_text(f"the bytes of {path.name}")
        return [str(path) for path in paths]

    # --- processes ---

    def start(self, name: str, *command: str, **more: str) -> Process:
        """Start a process of this installation; it is killed at the test's end."""
        process = Process(name, [sys.executable, *command], self.folder, self.environment | more)
        self.exits.callback(process.kill)
        return process

    def celery(self, name: str, *arguments: str, **more: str) -> Process:
        """Start `celery -A worker ...`."""
        return self.start(name, "-W", "ignore", "-m", "celery", "-A", "worker", *arguments, **more)

    def worker(self, *options: str, ready: bool = True, **more: str) -> Process:
        """Start a worker, as soon as it can alone: without asking for neighbours first."""
        self.started += 1
        name = f"w{self.started}"
        process = self.celery(
            name, "worker", "-n", f"{name}@test", "--without-mingle", *options, **more
        )
        if ready:
            process.await_word('"worker_ready"')
        return process

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this installation to its end."""
        return run(
            [sys.executable, *command],
            cwd=self.folder,
            env=self.environment | more,
            text=True,
            timeout=PATIENCE,
        )

    def cli(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `chatflow-ingest ...` to its end."""
        return self.run("-m", "worker.cli", *arguments, **more)

    # --- what others see ---

    def client(self) -> Celery:
        """A Celery application that knows the broker's address and nothing else."""
        app = Celery(broker=self.broker_url, set_as_current=False)
        self.exits.callback(app.close)
        return app

    def told(self, batch: UUID | str) -> dict[str, Any]:
        """What `status BATCH --json` says."""
        asked = self.cli("status", str(batch), "--json")
        assert asked.returncode == 0, asked.stderr
        return dict(json.loads(asked.stdout))

    def counts(self, batch: UUID | str) -> dict[str, int]:
        """Files by state, straight from the store: a process for each look would be dear."""
        with suppress(IngestError):
            return dict(self.store.status(_id(batch)).counts)
        return {}

    def await_counts(
        self, batch: UUID | str, counts: dict[str, int], within: float = PATIENCE
    ) -> None:
        """Wait until the batch's files are in these states."""
        seen: dict[str, int] = {}

        def reached() -> bool:
            nonlocal seen
            seen = {str(state): n for state, n in self.counts(batch).items() if n}
            return seen == counts

        try:
            wait_for(reached, f"{counts}", within)
        except pytest.fail.Exception:
            pytest.fail(f"the files are {seen}, not {counts}, after {within:g} s")

    def await_finish(self, batch: UUID | str, within: float = PATIENCE) -> None:
        """Wait until the batch is stamped as finished."""

        def finished() -> bool:
            with suppress(IngestError):  # not there yet, or the database is away for the test
                return self.store.status(_id(batch)).finished_at is not None
            return False

        wait_for(finished, "the batch to finish", within)

    def results(self, batch: UUID | str) -> dict[str, dict[str, Any]]:
        """The result lines by file name."""
        listed = self.cli("results", str(batch))
        assert listed.returncode == 0, listed.stderr
        lines = [json.loads(line) for line in listed.stdout.splitlines()]
        return {line["name"]: line for line in lines}


def _id(batch: UUID | str) -> Any:
    return batch if isinstance(batch, UUID) else UUID(batch)
