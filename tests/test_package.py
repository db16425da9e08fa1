"""What `pip install chatflow-ingest` would bring: sdist and wheel, built and used without network."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.distributed.fleet import QUICK
from worker.simulator import running

ROOT = Path(__file__).parents[1]
CODE = """
import worker, worker.client
from worker.adapters.pages.engine import environment
for name in environment().list_templates(extensions=["j2"]):
    environment().get_template(name)
print(worker.__file__)
"""


def said(*command: object, **environment: str) -> str:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CHATFLOW_", "INGEST_", "PYTHON", "COVERAGE_"))
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=environment.pop("cwd", ROOT),
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def unpacked_sdist(folder: Path) -> Path:
    said(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def files_below(top: Path) -> set[str]:
    """What a package's folder holds beside what Python makes of it."""
    return {
        path.relative_to(top).as_posix()
        for path in top.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def installed(wheel: Path, venv: Path) -> Path:
    """The programs of a new environment with the wheel, and this one's libraries behind it."""
    said(sys.executable, "-m", "venv", "--without-pip", venv)
    pip = (sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "--no-cache-dir")
    said(*pip, "install", "-q", "--no-deps", "--no-index", wheel)
    (packages,) = venv.glob("lib/python*/site-packages")
    # A line adds the folder alone, not what its own .pth files would: the editable install.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return venv / "bin"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel that the sdist builds, as an installer without wheels would have it."""
    source = unpacked_sdist(tmp_path)
    for name in ("requirements.txt", "requirements-dev.txt", "README.md", "LICENSE", "alembic.ini"):
        assert (source / name).is_file()
    said(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=str(source))
    (built,) = tmp_path.glob("*.whl")
    return built


def test_an_installed_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {f"worker/{name}" for name in files_below(ROOT / "worker")}
    revisions = {f"worker/_migrations/{name}" for name in files_below(ROOT / "migrations")}
    assert "worker/py.typed" in ours
    assert (ours | revisions) - names == set()

    programs = installed(wheel, tmp_path / "venv")
    assert said(programs / "python", "-c", CODE, cwd=str(tmp_path)).startswith(str(tmp_path))
    version = said(programs / "chatflow-ingest", "--version")
    assert version.split()[-1] == wheel.name.split("-")[1]

    (tmp_path / "file.txt").write_text("words")
    with running(QUICK) as simulator:
        environment = {
            "cwd": str(tmp_path),
            "CHATFLOW_BASE_URL": simulator.url,
            "CHATFLOW_ROBOT_KEY": "demo-key",
            "CHATFLOW_ROBOT_TOKEN": "demo-token",
            "CHATFLOW_USERNAME": "demo",
            "INGEST_SECRETS_DIR": str(tmp_path),
        }
        line = (programs / "chatflow-ingest", "run", "file.txt", "--json")
        assert json.loads(said(*line, **environment))["counts"] == {"succeeded": 1}
