"""One very large file beside `curl -F`, and what a start costs: `python -m tests.bench.large`.

BENCH_LARGE_BYTES (1000000000) says how large; the file is sparse, so that no disk is measured.
Keeps the figures in tests/bench/large.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import scenery
from tests.bench.scenery import PYTHON, ROOT, Stage

BYTES = int(os.environ.get("BENCH_LARGE_BYTES", "1000000000"))
AT_ONCE = scenery.SCENARIO.replace(
    f'kind = "lognormal", median = {scenery.MEDIAN}, p95 = {scenery.P95}', 'kind = "none"'
).replace("enforce_places = true", "enforce_places = false")
OUTPUT = Path(__file__).parent / "large.json"
Cost = dict[str, float]


def cost(arguments: list[str], environment: dict[str, str]) -> Cost:
    """Seconds, CPU seconds and peak megabytes of a command, which must end well."""
    began = time.monotonic()
    process = subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return {
        "seconds": time.monotonic() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def middle(costs: list[Cost]) -> Cost:
    return {name: round(median(each[name] for each in costs), 2) for name in costs[0]}


# --- one large file ------------------------------------------------------------------------------


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def form_fields(stage: Stage, name: str) -> dict[str, str]:
    """The form that the service wants, as a dialog of its own tells it."""
    os.environ.update(stage.environment())
    from tests.bench import bare

    async def ask() -> dict[str, str]:
        async with bare.connect(bare.DIALOG, additional_headers=bare.HEADERS) as socket:
            return bare.fields_for(await bare.open_dialog(socket), name)

    return asyncio.run(ask())


def curl(stage: Stage, file: Path, fields: dict[str, str]) -> Cost:
    told = [word for key, value in fields.items() for word in ("--form-string", f"{key}={value}")]
    credentials = {
        "cybertron-robot-key": "demo-key",
        "cybertron-robot-token": "demo-token",
        "username": "demo",
    }
    headers = [word for key, value in credentials.items() for word in ("-H", f"{key}: {value}")]
    url = f"{stage.url}/openapi/v1/chatflow/offline_upload_file/"
    return cost(["curl", "-sf", *headers, *told, "-F", f"file=@{file}", url], dict(os.environ))


def ours(stage: Stage, file: Path, folder: Path) -> Cost:
    database = folder / f"{time.monotonic_ns()}.db"
    environment = stage.environment() | {
        "INGEST_DATABASE_URL": f"sqlite:///{database}",
        "INGEST_ROOTS": str(folder),
    }
    return cost([PYTHON, "-m", "worker.cli", "run", str(file)], environment)


def one_large_file(folder: Path) -> dict[str, Any]:
    large, tiny = sparse(folder / "large.txt", BYTES), folder / "tiny.txt"
    tiny.write_text("tiny")
    costs: dict[str, list[Cost]] = {"curl": [], "run": [], "run_tiny": []}
    took = []
    with scenery.simulator(folder, AT_ONCE) as stage:
        fields = form_fields(stage, large.name)
        for _ in range(scenery.ROUNDS):
            costs["curl"].append(curl(stage, large, fields))
            costs["run_tiny"].append(ours(stage, tiny, folder))
            simulator = stage.cpu()
            costs["run"].append(ours(stage, large, folder))
            took.append(stage.cpu() - simulator)
        assert stage.summary()["uploads_taken"] == 3 * scenery.ROUNDS
    found: dict[str, Any] = {name: middle(each) for name, each in costs.items()}
    found["bytes"] = BYTES
    found["simulator_cpu_per_upload"] = round(median(took), 2)
    found["run_less_start"] = {
        name: round(found["run"][name] - found["run_tiny"][name], 2)
        for name in ("seconds", "cpu", "peak_mb")
    }
    return found


# --- starting ------------------------------------------------------------------------------------


def start_up(folder: Path) -> dict[str, Any]:
    environment = dict(os.environ)
    commands = {
        "python -c pass": [PYTHON, "-c", "pass"],
        "chatflow-ingest --help": [PYTHON, "-m", "worker.cli", "--help"],
        "chatflow-ingest --version": [PYTHON, "-m", "worker.cli", "--version"],
    }
    found: dict[str, Any] = {
        name: middle([cost(arguments, environment) for _ in range(5)])
        for name, arguments in commands.items()
    }
    with scenery.simulator(folder) as stage, scenery.database(scenery.POSTGRES) as url:
        environment = stage.environment() | {
            "INGEST_DATABASE_URL": url,
            "INGEST_BROKER_URL": scenery.REDIS,
            "INGEST_ROOTS": str(folder),
        }
        cost([PYTHON, "-m", "worker.cli", "db", "upgrade"], environment)
        found["worker ready, s"] = round(median(_ready_after(environment) for _ in range(3)), 2)
    return found


def _ready_after(environment: dict[str, str]) -> float:
    """Seconds from the start of a worker until it says that it is ready."""
    arguments = [PYTHON, "-m", "celery", "-A", "worker", "worker", "-n", "large@localhost"]
    began = time.monotonic()
    with _stopped(
        subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if b"worker_ready" in line)
        return time.monotonic() - began


@contextmanager
def _stopped(process: subprocess.Popen[bytes]) -> Any:
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="bench-large-"))
    try:
        found = {"start": start_up(folder), "one_large_file": one_large_file(folder)}
    finally:
        shutil.rmtree(folder)
    OUTPUT.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
