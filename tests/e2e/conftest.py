"""The shell that every test here types into, and the service that it speaks to."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.shells import KEY, ROOT, TOKEN, USER, Shell
from worker.adapters.database.engine import migrate
from worker.simulator import RunningSimulator

OURS = ("CHATFLOW_", "INGEST_", "COVERAGE_")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables, to be copied: making them anew takes most of a second."""
    path = tmp_path_factory.mktemp("database") / "ingest.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def new_shell(tmp_path: Path, empty_database: Path) -> Iterator[Callable[[], Shell]]:
    """Makes shells, each with a folder, a configuration and a database of its own."""
    numbers = count()
    with ExitStack() as exits:

        def make() -> Shell:
            folder = tmp_path / str(next(numbers))
            (folder / "in").mkdir(parents=True)
            shutil.copy(empty_database, folder / "ingest.db")
            return Shell(folder, environment(folder), exits.enter_context(ExitStack()))

        yield make


def environment(folder: Path) -> dict[str, str]:
    inherited = {n: value for n, value in os.environ.items() if not n.startswith(OURS)}
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "CHATFLOW_BASE_URL": "http://127.0.0.1:9",
        "CHATFLOW_ROBOT_KEY": KEY,
        "CHATFLOW_ROBOT_TOKEN": TOKEN,
        "CHATFLOW_USERNAME": USER,
        "INGEST_DATABASE_URL": f"sqlite:///{folder / 'ingest.db'}",
        "INGEST_ROOTS": str(folder / "in"),
        "INGEST_SECRETS_DIR": str(folder),
    }


@pytest.fixture
def shell(new_shell: Callable[[], Shell]) -> Shell:
    return new_shell()


@pytest.fixture
def service(shell: Shell) -> Callable[..., RunningSimulator]:
    """Starts the shell's simulated service."""
    return shell.serve
