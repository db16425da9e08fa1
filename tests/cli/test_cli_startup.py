"""What `--help` costs and says."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from worker.cli import app

HEAVY = {
    "sqlalchemy", "alembic", "celery", "kombu", "httpx", "aiohttp", "pyarrow", "websockets",
    "pydantic", "fsspec",
}  # fmt: skip

COMMANDS = [
    ["run"], ["submit"], ["status"], ["results"], ["show"], ["retry"], ["cancel"], ["plan"],
    ["doctor"], ["db", "upgrade"], ["db", "current"], ["db", "downgrade"], ["simulator"],
    ["demo"], ["notify", "replay"],
]  # fmt: skip


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom worker.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0
    assert "Usage" in process.stdout
    assert not {name.split(".")[0] for name in process.stderr.split()} & HEAVY


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command):
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_the_version_is_printed():
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("chatflow-ingest ")
