"""What a start costs, its bytecode cached: `python -m tests.bench.start`, kept in start.json.

Medians of BENCH_STARTS (7) starts each; CPU is the processes' own, with their children's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

from tests.bench import scenery
from tests.bench.large import AT_ONCE, Cost, cost, middle
from tests.bench.scenery import PYTHON, ROOT

OUTPUT = Path(__file__).parent / "start.json"
STARTS = int(os.environ.get("BENCH_STARTS", "7"))
CLI = (PYTHON, "-m", "worker.cli")


def several(arguments: list[str], environment: dict[str, str]) -> Cost:
    cost(arguments, environment)  # writes the bytecode
    return middle([cost(arguments, environment) for _ in range(STARTS)])


def commands(folder: Path, environment: dict[str, str]) -> dict[str, Cost]:
    files = scenery.write_files(folder / "in", 20, size=100)
    handed_in = [*CLI, "run", str(files), "--external-key", "start"]
    cost([*CLI, "db", "upgrade"], environment)
    cost(handed_in, environment)
    told = {
        "python -c pass": [PYTHON, "-c", "pass"],
        "--version": [*CLI, "--version"],
        "--help": [*CLI, "--help"],
        "status": [*CLI, "status"],
        "status of a batch": [*CLI, "status", "start"],
        "show of a file": [*CLI, "show", "start", "file-000003.txt"],
        "results of 20 files": [*CLI, "results", "start"],
        "demo": [*CLI, "demo"],
    }
    return {name: several(arguments, environment) for name, arguments in told.items()}


def worker_ready(environment: dict[str, str]) -> Cost:
    """From the start of a worker until it says that it is ready."""
    arguments = [PYTHON, "-m", "celery", "-A", "worker", "worker", "-n", "start@localhost"]
    began = time.monotonic()
    process = subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        next(line for line in process.stderr if b"worker_ready" in line)
        seconds = time.monotonic() - began
        times = psutil.Process(process.pid).cpu_times()
        peak = psutil.Process(process.pid).memory_info().rss / 2**20
        return {"seconds": seconds, "cpu": times.user + times.system, "peak_mb": peak}
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def main() -> int:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    folder = Path(tempfile.mkdtemp(prefix="bench-start-"))
    try:
        with (
            scenery.simulator(folder, AT_ONCE) as stage,
            scenery.database(scenery.POSTGRES) as url,
        ):
            environment = stage.environment() | {
                "COLUMNS": "120",
                "INGEST_DATABASE_URL": url,
                "INGEST_ROOTS": str(folder),
            }
            found = commands(folder, environment)
            environment["INGEST_BROKER_URL"] = scenery.REDIS
            worker_ready(environment)
            found["worker ready"] = middle([worker_ready(environment) for _ in range(STARTS)])
    finally:
        shutil.rmtree(folder)
    whole = {"load": round(median(os.getloadavg()), 2), "starts": STARTS, "costs": found}
    OUTPUT.write_text(json.dumps(whole, indent=2) + "\n")
    for name, each in found.items():
        print(
            f"{name:22} {each['seconds']:6.2f} s  CPU {each['cpu']:5.2f} s  {each['peak_mb']:.0f} MB"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
