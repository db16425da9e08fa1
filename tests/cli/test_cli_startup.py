"""What `--help` costs and says."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from worker.cli import app

HEAVY = {
    "sqlalchemy", "alembic", "celery", "kombu", "httpx", "httpx2", "aiohttp", "pyarrow", "websockets",
    "pydantic", "fsspec",
}  # fmt: skip

WORK = ("worker.adapters.", "worker.ports.", "worker.core.model.", "worker.core.planning")

COMMANDS = [
    ["run"], ["submit"], ["status"], ["results"], ["show"], ["retry"], ["cancel"], ["plan"],
    ["doctor"], ["db", "upgrade"], ["db", "current"], ["db", "downgrade"], ["simulator"],
    ["demo"], ["notify", "replay"], ["notify", "list"], ["schedules", "list"], ["schedules", "run"],
    ["metrics"], ["init"], ["config"], ["audit"], ["prune"], ["report"],
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
    imported = process.stderr.split()
    assert not {name.split(".")[0] for name in imported} & HEAVY
    # What commands work with is ours, and adds up, too.
    assert not [name for name in imported if name.startswith(WORK)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command):
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], "Configuration comes from environment variables, a .env file"),
        (["run"], "2 usage or configuration, 130 after Ctrl-C"),
        (["retry"], "Without one (memory://) it works at once and waits"),
        (["schedules", "run"], "hand in what is new or changed. Its next due time stays."),
    ],
    ids=str,
)
def test_help_flows_with_the_terminal_and_not_with_its_source(command, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 300)
    assert words in CliRunner().invoke(app, [*command, "--help"]).stdout


def test_the_version_is_printed():
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("chatflow-ingest ")
