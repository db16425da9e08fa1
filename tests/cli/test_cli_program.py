"""Advice is a line that works where it is read."""

import sys

import pytest
from typer.testing import CliRunner

from worker.cli import app
from worker.cli.program import command, program


def test_a_program_on_the_path_is_called_by_its_name(tmp_path, monkeypatch):
    script = tmp_path / "bin" / "chatflow-ingest"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "chatflow-ingest"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    assert program() == "bin/chatflow-ingest"
    monkeypatch.chdir(script.parent.parent / "bin")
    assert program() == "./chatflow-ingest"
    monkeypatch.chdir("/")
    assert program().endswith("bin/chatflow-ingest")


def test_odd_words_survive_the_shell():
    assert command("show", "latest", "a b.wav").endswith("show latest 'a b.wav'")


@pytest.mark.parametrize("option", ["--quiet", "-q", "-v"])
def test_an_option_of_the_program_after_a_command_is_told_its_place(option):
    result = CliRunner().invoke(app, ["status", option])

    assert result.exit_code == 2
    words = " ".join(result.output.replace("│", " ").split())
    assert f"before the command: chatflow-ingest {option}" in words
