"""The shell that every test here types into, and the service that it speaks to."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.shells import KEY, QUICK, ROOT, TOKEN, USER, Shell
from worker.simulator import RunningSimulator, running


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "in").mkdir()
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CHATFLOW_", "INGEST_", "COVERAGE_"))
    }
    environment = inherited | {
        "PYTHONPATH": str(ROOT),
        "CHATFLOW_BASE_URL": "http://127.0.0.1:9",
        "CHATFLOW_ROBOT_KEY": KEY,
        "CHATFLOW_ROBOT_TOKEN": TOKEN,
        "CHATFLOW_USERNAME": USER,
        "INGEST_DATABASE_URL": f"sqlite:///{tmp_path / 'ingest.db'}",
        "INGEST_ROOTS": str(tmp_path / "in"),
        "INGEST_SECRETS_DIR": str(tmp_path),
    }
    with ExitStack() as exits:
        yield Shell(tmp_path, environment, exits)


@pytest.fixture
def service(shell: Shell) -> Callable[..., RunningSimulator]:
    """Starts a simulated service that the shell's configuration names from then on."""

    def start(scenario: Any = None, **more: Any) -> RunningSimulator:
        wanted = QUICK | (scenario or {}) | more
        simulator = shell.exits.enter_context(running(wanted))
        shell.environment["CHATFLOW_BASE_URL"] = simulator.url
        return simulator

    return start
