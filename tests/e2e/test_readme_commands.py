"""The commands of the README's beginning do what it says they do."""

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests import pages

SECTION = "Against the real service"
VARIABLES = ("CHATFLOW_BASE_URL", "CHATFLOW_ROBOT_KEY", "CHATFLOW_ROBOT_TOKEN", "CHATFLOW_USERNAME")


def commands():
    """The `chatflow-ingest` lines of the section that a new user reads first."""
    return [line.words[1:] for line in pages.lines(pages.README) if line.section == SECTION]


def test_the_first_commands_work(shell, service):
    simulator = service()
    for name in (
        *VARIABLES,
        "INGEST_DATABASE_URL",
        "INGEST_ROOTS",
    ):  # "without further configuration"
        del shell.environment[name]
    recordings = shell.folder / "recordings" / "today"  # nothing is found there without --recursive
    recordings.mkdir(parents=True)
    (recordings / "call.wav").write_bytes(b"RIFF")
    (recordings / "page.pdf").write_bytes(b"%PDF")
    answers = [
        "--base-url", simulator.url, "--robot-key", "demo-key", "--robot-token", "demo-token",
        "--username", "demo",
    ]  # fmt: skip
    told = {}
    for arguments in commands():
        more = answers if arguments[0] == "init" else []  # which there is no terminal to ask for
        outcome = shell.type(*arguments, *more)
        assert outcome.code == 0, (arguments, outcome)
        told[arguments[0]] = outcome
    assert list(told) == ["init", "doctor", "plan", "run", "show", "report", "results", "config"]
    assert "canary" in told["doctor"].stdout
    assert (shell.folder / "first-contact.jsonl").stat().st_size > 1000
    assert "succeeded 2" in told["run"].stdout
    assert "message1 of call.wav" in told["show"].stdout
    assert ".env" in told["config"].stdout
    assert (shell.folder / "chatflow-ingest.db").exists()
    assert told["run"].batch in (shell.folder / "report.html").read_text()
    table = (shell.folder / "results.csv").read_text()
    assert "call.wav" in table
    assert "message1" in table


def test_a_dot_env_file_serves_as_well(shell, service):
    simulator = service()
    for name in VARIABLES:
        shell.environment.pop(name, None)
    (shell.folder / ".env").write_text(
        f"CHATFLOW_BASE_URL={simulator.url}\nCHATFLOW_ROBOT_KEY=demo-key\n"
        "CHATFLOW_ROBOT_TOKEN=demo-token\nCHATFLOW_USERNAME=demo\n"
    )
    assert shell.type("run", shell.put("a.wav")).code == 0


def test_the_queries_of_the_reference_have_their_view(shell, service):
    service()
    ran = shell.type("run", shell.put("a.wav"), "--json")
    reference = pages.REFERENCE.read_text(encoding="utf-8")
    queries = re.findall(r"SELECT .*?;", reference.split("## Results in SQL")[1], re.DOTALL)
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
    assert len({json.loads(line)["batch_id"] for line in listed.stdout.splitlines()}) == 1


@pytest.mark.parametrize("script", ["chatflow-ingest"])
def test_the_console_script_is_installed(shell, script):
    place = Path(sys.executable).parent / script
    done = subprocess.run([place, "--version"], capture_output=True, text=True, check=True)
    assert script in done.stdout
