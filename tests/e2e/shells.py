"""A user at a shell: real processes of the command line, a simulated service, SQLite in a folder.

The service runs in the test's own process, so its ledger and scenario are at hand; the command
line never does.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.warm import Warm
from worker.adapters.database import open_store
from worker.core.model.batches import BatchStatus
from worker.core.model.ids import BatchId
from worker.core.result_line import result_line
from worker.errors import DatabaseBehind
from worker.simulator import RunningSimulator, running

KEY, TOKEN, USER = "demo-key", "demo-token", "demo"
PROGRAM = [sys.executable, "-m", "worker.cli"]
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90.0

QUICK = {"strict": True, "time_to_ready": {"kind": "fixed", "seconds": 0.3}}
"""A scenario that is ready at the first poll, and misses whatever the documents ask for."""

ANYTHING = [
    {
        "id": 1,
        "name": "Anything",
        "support_formats": "wav,pdf,txt",
        "upload_max_num": 1000,
        "variable_assign": "content",
    }
]
"""One category with room for all files of a test."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout; anything else there is a fault."""
        assert self.stdout.startswith("{"), f"exit {self.code}\n{self.stdout}\n{self.stderr}"
        return json.loads(self.stdout)

    @property
    def batch(self) -> str:
        """The batch that was said on stderr."""
        return batch_in(self.stderr)


def batch_in(stderr: str) -> str:
    return next(line.split()[1] for line in stderr.splitlines() if line.startswith("batch "))


@dataclass
class Shell:
    """A folder with a configuration in the environment, where commands are typed."""

    folder: Path
    environment: dict[str, str]
    exits: ExitStack = field(default_factory=ExitStack)

    @property
    def inbox(self) -> Path:
        return self.folder / "in"

    def put(self, name: str, content: bytes | str = b"") -> str:
        """Write a file; its content is its name unless given."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data or f"the bytes of {name}".encode())
        return str(path)

    def put_many(self, pattern: str, count: int) -> list[str]:
        return [self.put(pattern.format(number)) for number in range(count)]

    def type(self, *arguments: str | bytes, stdin: bytes = b"", **more: str) -> Outcome:
        """Run a command to its end."""
        began = time.monotonic()
        process = self.start(*arguments, **more)
        try:
            out, err = process.communicate(stdin, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"{arguments} did not end\n{out.decode()}\n{err.decode()}")
        return Outcome(
            process.returncode,
            out.decode(errors="replace"),
            err.decode(errors="replace"),
            time.monotonic() - began,
        )

    def start(self, *arguments: str | bytes, **more: str) -> subprocess.Popen[bytes]:
        """Start a command; it is killed at the test's end if it is still there."""
        process = Warm(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment | more,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.exits.callback(_end, process)
        return process

    def serve(self, scenario: Any = None, **more: Any) -> RunningSimulator:
        """Start a simulated service that the configuration names from now on."""
        simulator = self.exits.enter_context(running(QUICK | (scenario or {}) | more))
        self.environment["CHATFLOW_BASE_URL"] = simulator.url
        return simulator

    def results(self, batch: str) -> dict[str, dict[str, Any]]:
        """The result lines by file name, without a process."""
        with closing(open_store(self.environment["INGEST_DATABASE_URL"])) as store:
            lines = map(result_line, store.results(BatchId(UUID(batch))))
            return {line["name"]: line for line in lines}

    def batches(self) -> list[BatchStatus]:
        """What `status` lists, without a process; nothing before there are tables."""
        with closing(open_store(self.environment["INGEST_DATABASE_URL"])) as store:
            try:
                return list(store.batches())
            except DatabaseBehind:
                return []

    def story(self, file_id: str) -> dict[str, Any]:
        return self.type("show", file_id, "--json").json


def together(
    check: Callable[[Shell, Any], None], cases: Iterable[Any], new_shell: Callable[[], Shell]
) -> None:
    """Check every case, some at once, each in a shell of its own; most of the time is waiting."""
    with ThreadPoolExecutor(5) as pool:
        futures = {case: pool.submit(check, new_shell(), case) for case in cases}
    failed = {case: error for case, future in futures.items() if (error := future.exception())}
    for case, error in failed.items():
        error.add_note(f"in the case of {case!r}")
    if failed:
        raise next(iter(failed.values()))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    with process:
        for stream in (process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                stream.read()


def wait_for(condition: Callable[[], Any], what: str, within: float = 60.0) -> Any:
    """Look until a condition holds; a look is cheap, so it looks often."""
    end = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {within} s in vain for {what}")
        time.sleep(0.02)
    return found


def kill(process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> tuple[int, str, str]:
    """Send a signal and take what the process leaves."""
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
