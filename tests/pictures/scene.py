"""What stands on the pictures: real runs against the stand-in, in a folder that is thrown away."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker.simulator import DEMO_SCENARIO, running, write_samples

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "worker.cli"]
LOGIN = "flower:flower"
SAMPLE_OF = {
    "wav": "morning-call.wav",
    "pdf": "agreement.pdf",
    "docx": "minutes.docx",
    "png": "waves.png",
}
TWELVE = [
    "broken-0912.wav", "support-0907.wav", "support-0915.wav", "support-0931.wav", "sales-1002.wav",
    "sales-1010.wav", "offer-Müller.pdf", "offer-陈.pdf", "contract-2026.pdf", "minutes.docx", "site.png", "plan.xyz",
]  # fmt: skip


class Scene:
    """A folder with a configuration, where commands are typed."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("CHATFLOW_", "INGEST_"))}
        self.environment = kept | {
            "PYTHONPATH": str(ROOT),
            "CHATFLOW_BASE_URL": url,
            "CHATFLOW_ROBOT_KEY": "demo-key",
            "CHATFLOW_ROBOT_TOKEN": "demo-token",
            "CHATFLOW_USERNAME": "demo",
            "INGEST_DATABASE_URL": f"sqlite:///{folder / 'ingest.db'}",
            "INGEST_ROOTS": str(folder),
            "FLOWER_BASIC_AUTH": LOGIN,
        }

    def files(self, where: str, names: list[str]) -> str:
        """Write genuine files of these names into a folder; returns it."""
        samples = {path.name: path for path in write_samples(self.folder / "samples")}
        inbox = self.folder / where
        inbox.mkdir(parents=True)
        for number, name in enumerate(names):
            sample = samples.get(SAMPLE_OF.get(name.rpartition(".")[2], ""))
            content = sample.read_bytes() if sample else b"no format that anybody knows"
            (inbox / name).write_bytes(content + bytes(997 * number))  # no two are the same
        return str(inbox)

    def start(self, *words: str, **more: Any) -> "subprocess.Popen[bytes]":
        """Start a command."""
        return subprocess.Popen([*PROGRAM, *words], cwd=self.folder, env=self.environment, **more)

    def type(self, *words: str) -> None:
        """Run a command to its end; how a batch went is not looked at."""
        if self.start(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait() not in {
            0,
            1,
        }:
            raise RuntimeError(f"{words} came to nothing")


@contextmanager
def scene() -> Iterator[Scene]:
    """A finished batch of twelve files, one that took its time, and one that is running."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        running(DEMO_SCENARIO) as service,
    ):
        stage = Scene(Path(folder), service.url)
        stage.type(
            "run",
            stage.files("monday", [f"call-{n:04}.wav" for n in range(40)]),
            "--external-key",
            "calls-2026-11-23",
        )
        stage.type("run", stage.files("tuesday", TWELVE), "--external-key", "nightly-2026-11-24")
        yield stage


@contextmanager
def at_work(stage: Scene) -> Iterator[None]:
    """While a batch of a hundred files is half done."""
    stage.environment["INGEST_RATE_LIMIT"] = "10/s"
    folder = stage.files("wednesday", [*(f"call-{n:04}.wav" for n in range(96)), *TWELVE[:4]])
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = stage.start("run", folder, "--external-key", "nightly-2026-11-25", **silent)
    try:
        time.sleep(8)  # of some ten that it takes
        yield
    finally:
        process.wait(60)


@contextmanager
def flower(stage: Scene) -> Iterator[str]:
    """Flower on the scene's database; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "worker", "flower", f"--port={port}", "--address=127.0.0.1"],
        cwd=stage.folder, env=stage.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _until(lambda: _answers(port) or process.poll() is not None)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
