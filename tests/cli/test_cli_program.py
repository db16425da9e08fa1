"""Advice is a line that works where it is read."""

import sys

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
