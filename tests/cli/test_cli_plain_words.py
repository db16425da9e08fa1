"""What a stranger reads: numbers and nouns agree, nothing is said twice, hints are no errors."""

import io
import json
from dataclasses import replace

import pytest
from rich.cells import cell_len

from tests.cli.desk import BATCH, Terminal, invoke
from tests.cli.test_cli_wording import a_status
from worker.cli.audit import Findings, put_findings
from worker.cli.fitting import folded, near
from worker.cli.progress import PlainLines
from worker.cli.terminal import shortened
from worker.core.model.files import UploadState
from worker.core.planning import Candidate, plan
from worker.core.seen import BatchDetails
from worker.core.timings import Timings
from worker.core.words import counted
from worker.settings import Settings


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "file", "0 files"),
        (1, "dialog", "1 dialog"),
        (2, "batch", "2 batches"),
        (1, "batch", "1 batch"),
        (1234567, "upload", "1,234,567 uploads"),
    ],
)
def test_numbers_agree_with_what_they_count(number, noun, words):
    assert counted(number, noun) == words


@pytest.mark.parametrize("name", ["setup.exe", "plan.xyz", "call.wav"])
def test_no_article_has_to_fit_a_format(name):
    ((_, refusal),) = plan([Candidate("f", name)], ()).rejections
    assert f'"{name}" is of format {name[-3:]}; ' in refusal.message


def test_one_batch_is_not_called_batches(filled):
    invoke("cancel", "latest")
    told = invoke("prune", "--older-than", "0", "--dry-run").stdout
    assert "4 files" in told
    assert told.endswith("\n1 batch would be removed\n")


def test_a_hint_is_no_error(database, tmp_path, monkeypatch):
    (tmp_path / "empty" / "below").mkdir(parents=True)
    for name in ("BASE_URL", "ROBOT_KEY", "ROBOT_TOKEN", "USERNAME"):
        monkeypatch.setenv(f"CHATFLOW_{name}", "http://127.0.0.1:9")
    first, *hints = invoke("run", "empty").stderr.splitlines()
    assert first.startswith("error: nothing to ingest")
    assert len(hints) == 2
    assert not [line for line in hints if line.startswith("error")]


def test_each_fault_of_the_configuration_is_an_error(database):
    lines = invoke("run", "a.wav").stderr.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("error: CHATFLOW_") for line in lines)


def test_status_tells_nothing_that_is_not_so(filled):
    told = invoke("status", "latest").stdout
    assert "\nheld" not in told
    assert "\nfinished" not in told
    filled.cancel(BATCH)
    filled.finish([BATCH])
    assert "\nfinished\t20" in invoke("status", "latest").stdout


def test_a_frozen_profile_is_named_once_in_a_line(capsys):
    status = replace(a_status(queued=10), profile_state="frozen", profile_reason="HTTP 429")
    PlainLines(lambda: 5.0, lambda _: BatchDetails("run", held_for=12.0))(status)
    line = capsys.readouterr().err
    assert line == "0 of 10 done: queued 10 [profile frozen: HTTP 429] (12 s more)\n"


def test_an_audit_says_what_becomes_of_uploads(capsys):
    found = Findings()
    found.uploads.update(UploadState.INTENT for _ in range(25))
    found.uploads.update(list(UploadState))
    put_findings(found)
    assert "26 planned and not sent" in capsys.readouterr().out


def test_a_story_has_no_line_for_what_is_not_so(filled):
    file = json.loads(invoke("results", "latest", "--format", "jsonl").stdout.splitlines()[0])
    assert file["sanitized"] is False
    assert "sanitized" not in invoke("show", file["file_id"]).stdout


def test_timings_are_shown_as_they_are_written(database, monkeypatch):
    (found,) = (
        each["value"]
        for each in json.loads(invoke("config", "--json").stdout)["settings"]
        if each["name"] == "INGEST_TIMINGS"
    )
    assert json.loads(found)["renew_every"] == 15
    monkeypatch.setenv("INGEST_TIMINGS", found)
    assert Settings.load().timings == Timings()


PRIVATE = "http://10.0.0.5/hook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    ("address", "secret", "fault"),
    [
        (PRIVATE, SECRET, "--notify: url: plain http needs a prefix in INGEST_WEBHOOK_ALLOW"),
        (PRIVATE.replace("http", "https"), SECRET, "--notify: url: a private address needs"),
        ("https://hooks.example/", "", "INGEST_WEBHOOK_SECRET"),
    ],
)
def test_a_notification_is_held_to_the_rule_of_messages(
    database, tmp_path, monkeypatch, address, secret, fault
):
    (tmp_path / "a.wav").write_bytes(b"x")
    monkeypatch.setenv("INGEST_WEBHOOK_SECRET", secret)
    result = invoke("submit", "a.wav", "--notify", address)
    assert (result.exit_code, result.stdout) == (2, "")
    assert fault in result.stderr
    assert json.loads(invoke("status", "--json").stdout)["batches"] == []


def test_a_notification_that_is_allowed_is_taken(database, tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(b"x")
    monkeypatch.setenv("INGEST_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("INGEST_WEBHOOK_ALLOW", PRIVATE)
    assert invoke("submit", "a.wav", "--notify", PRIVATE).exit_code == 0


def test_what_is_read_at_a_terminal_is_folded_between_words(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    line = f"      a.wav  {'word ' * 20}".rstrip()
    lines = folded(line, " " * 8, Terminal()).splitlines()
    assert lines[0].startswith("      a.wav")
    assert all(len(each) <= 60 for each in lines)
    assert all(each.startswith("        word") for each in lines[1:])
    assert folded(line, "", io.StringIO()) == line


def test_a_path_is_told_from_where_its_reader_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert near(str(tmp_path / "in" / "a.wav"), Terminal()) == "in/a.wav"
    assert near("/elsewhere/a.wav", Terminal()) == "/elsewhere/a.wav"
    assert near("s3://b/a.wav", Terminal()) == "s3://b/a.wav"
    assert near(str(tmp_path / "a.wav"), io.StringIO()) == str(tmp_path / "a.wav")


@pytest.mark.parametrize("text", ["合同" * 40, "合" + "a" * 90, "a" * 90])
def test_a_text_is_cut_by_the_columns_that_it_takes(text):
    cut = shortened(text, 30)
    assert 28 <= cell_len(cut) <= 30
    assert cut.endswith("…")
    assert shortened(text[:12], 30) == text[:12]
