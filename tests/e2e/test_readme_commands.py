"""The commands of the README's beginning do what it says they do."""

import json
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.shells import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    """The `chatflow-ingest` lines of the section that a new user reads first."""
    section = README.split("## Against the real service")[1].split("\n## ")[0]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)[1]
    return [
        shlex.split(line, comments=True)[1:]
        for line in block.splitlines()
        if line.startswith("chatflow-ingest")
    ]


def variables():
    section = README.split("## Against the real service")[1].split("\n## ")[0]
    return re.findall(r"^export (\w+)=", section, re.MULTILINE)


def test_the_first_commands_work(shell, service):
    service()
    assert set(variables()) == {
        "CHATFLOW_BASE_URL", "CHATFLOW_ROBOT_KEY", "CHATFLOW_ROBOT_TOKEN", "CHATFLOW_USERNAME",
    }  # fmt: skip
    for name in ("INGEST_DATABASE_URL", "INGEST_ROOTS"):  # "without further configuration"
        del shell.environment[name]
    recordings = shell.folder / "recordings" / "today"
    recordings.mkdir(parents=True)
    (recordings / "call.wav").write_bytes(b"RIFF")
    (recordings.parent / "page.pdf").write_bytes(b"%PDF")
    batch = None
    typed = commands()
    assert [arguments[0] for arguments in typed] == ["doctor", "plan", "run", "results"]
    for arguments in typed:
        outcome = shell.type(*(batch if word == "BATCH" else word for word in arguments))
        assert outcome.code == 0, (arguments, outcome)
        if arguments[0] == "run":
            batch = outcome.batch
            assert "succeeded 2" in outcome.stdout
    assert (shell.folder / "chatflow-ingest.db").exists()
    table = (shell.folder / "results.csv").read_text()
    assert "call.wav" in table
    assert "message1" in table


def test_a_dot_env_file_serves_as_well(shell, service):
    simulator = service()
    for name in variables():
        shell.environment.pop(name, None)
    (shell.folder / ".env").write_text(
        f"CHATFLOW_BASE_URL={simulator.url}\nCHATFLOW_ROBOT_KEY=demo-key\n"
        "CHATFLOW_ROBOT_TOKEN=demo-token\nCHATFLOW_USERNAME=demo\n"
    )
    assert shell.type("run", shell.put("a.wav")).code == 0


def test_the_queries_of_the_readme_have_their_view(shell, service):
    service()
    ran = shell.type("run", shell.put("a.wav"), "--json")
    queries = re.findall(r"SELECT .*?;", README.split("## Results in SQL")[1], re.DOTALL)
    database = sqlite3.connect(shell.folder / "ingest.db")
    found = [
        database.execute(re.sub(r"'[0-9a-f-]{36}'", f"'{ran.batch}'", q)).fetchall()
        for q in queries
    ]
    database.close()
    assert found[0][0][:2] == (str(shell.inbox / "a.wav"), "succeeded")


def test_the_demo_runs(shell):
    ran = shell.type("demo")
    assert ran.code == 0, ran.stderr
    for word in ("broken-recording.wav", "floor-plan.xyz", "succeeded", "failed", "rejected"):
        assert word in ran.stdout
    path = re.search(r"INGEST_DATABASE_URL=(\S+)", ran.stdout)[1]
    batch = re.search(r"chatflow-ingest results (\S+)", ran.stdout)[1]
    listed = shell.type("results", batch, INGEST_DATABASE_URL=path)
    assert len(listed.stdout.splitlines()) == 7
    assert all(json.loads(line)["batch_id"] == batch for line in listed.stdout.splitlines())


@pytest.mark.parametrize("script", ["chatflow-ingest"])
def test_the_console_script_is_installed(shell, script):
    place = Path(sys.executable).parent / script
    done = subprocess.run([place, "--version"], capture_output=True, text=True, check=True)
    assert script in done.stdout
