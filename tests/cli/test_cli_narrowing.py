"""Narrowing by code, category and age; notifications, schedules and metrics on the terminal."""

import json
import subprocess
import sys
import urllib.request
from uuid import UUID, uuid4

import pytest

from tests.cli.desk import BATCH, CREW, invoke
from worker.cli.options import notify_target, seconds
from worker.core.model.batches import NewBatch
from worker.core.model.ids import BatchId
from worker.errors import UsageError


@pytest.fixture
def fleet_away(monkeypatch):
    monkeypatch.setenv("INGEST_BROKER_URL", "redis://127.0.0.1:1/0")


def states(store):
    return [result.state for result in store.results(BATCH)]


def test_retry_takes_only_the_code_that_was_named(filled, fleet_away):
    result = invoke("retry", "latest", "--code", "parse_failed")
    assert result.exit_code == 0
    assert states(filled)[1:3] == ["queued", "rejected"]


def test_retry_takes_only_the_category_and_age_that_were_named(filled, fleet_away):
    assert "nothing" in invoke("retry", "latest", "--category", "Else").stderr
    assert "nothing" in invoke("retry", "latest", "--older-than", "1h").stderr
    assert "1 file to be tried" in invoke("retry", "latest", "--category", "Any").stderr


def test_results_take_only_the_code_that_was_named(filled):
    lines = invoke("results", "latest", "--code", "empty", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["error_code"] for line in lines] == ["empty"]


def test_who_could_not_be_woken_is_said(filled, fleet_away):
    assert "nobody could be woken" in invoke("retry", "latest").stderr
    assert "nobody could be woken" in invoke("submit", "a.wav").stderr


@pytest.mark.parametrize(
    ("text", "span"), [("2", 172_800), ("90s", 90), ("15m", 900), ("2h", 7200), ("0.5d", 43_200)]
)
def test_spans_of_time(text, span):
    assert seconds(text) == span


@pytest.mark.parametrize("text", ["", "x", "-1", "1w", "nan", "inf", "s"])
def test_what_is_no_span_of_time(text):
    with pytest.raises(UsageError):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (None, None),
        ("https://example.org/hook", {"url": "https://example.org/hook"}),
        ("report.done", {"task": "report.done"}),
        ("report.done@mine", {"task": "report.done", "queue": "mine"}),
    ],
)
def test_whom_to_notify(text, target):
    assert notify_target(text) == target


@pytest.mark.parametrize("text", ["ftp://x", "@queue", "a b", "task@", ""])
def test_whom_nobody_can_notify(text):
    with pytest.raises(UsageError):
        notify_target(text)


def test_notifications_that_wait_and_that_are_dead_are_listed(filled):
    assert json.loads(invoke("notify", "list", "--json").stdout) == {"notifications": []}
    other = BatchId(uuid4())
    filled.create_batch(NewBatch(other, "default", CREW, notify={"task": "done", "queue": "q"}))
    filled.seal(other)
    filled.finish([other])
    (entry,) = json.loads(invoke("notify", "list", "--json").stdout)["notifications"]
    assert (entry["batch_id"], entry["state"]) == (str(other), "waits")
    (claimed,) = filled.claim_notifications(1, 60)
    filled.notify_later(claimed.id, None, "gone for good")
    told = invoke("notify", "list").stdout
    assert "done@q" in told
    assert "gone for good" in told
    assert "notifications dead" in invoke("status", str(other)).stdout


def test_submit_takes_whom_to_notify(store):
    result = invoke("submit", "a.wav", "--notify", "report.done@mine")
    batch = BatchId(UUID(result.stdout.strip()))
    store.cancel(batch)
    assert store.undelivered()[0].target == {"task": "report.done", "queue": "mine"}


@pytest.fixture
def nightly(database, tmp_path, monkeypatch):
    folder = tmp_path / "calls"
    folder.mkdir()
    (folder / "one.wav").write_bytes(b"RIFF")
    file = tmp_path / "schedules.toml"
    file.write_text(
        f'[[schedule]]\nname = "nightly"\ncron = "0 2 * * *"\ntimezone = "Asia/Shanghai"\n'
        f'paths = ["{folder}"]\nstable_for = 0\n'
    )
    monkeypatch.setenv("INGEST_SCHEDULES", str(file))
    return folder


def test_schedules_tell_their_last_and_next_firing(nightly):
    for command in (["schedules"], ["schedules", "list"]):
        (row,) = json.loads(invoke(*command, "--json").stdout)["schedules"]
        assert (row["name"], row["last"]) == ("nightly", None)
        assert row["next"].endswith("T02:00:00+08:00")
        assert "02:00:00+08:00" in invoke(*command).stdout


def test_a_schedule_may_be_fired_now(nightly):
    fired = json.loads(invoke("schedules", "run", "nightly", "--json").stdout)
    assert fired["files"] == 1
    status = json.loads(invoke("status", fired["batch_id"], "--json").stdout)
    assert status["total"] == 1
    again = json.loads(invoke("schedules", "run", "nightly", "--json").stdout)
    assert again == {"schedule": "nightly", "batch_id": None, "files": 0}
    assert invoke("schedules", "run", "weekly").exit_code == 2


def test_without_schedules_it_says_so(database):
    result = invoke("schedules")
    assert result.exit_code == 2
    assert "INGEST_SCHEDULES" in result.stderr


def test_metrics_come_from_the_database_alone(filled):
    filled.attend("one", None, "host:1", 60)
    command = [sys.executable, "-m", "worker.cli", "metrics", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = process.stderr.readline().split()[-1]
            assert url.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(url, timeout=30) as reply:
                text = reply.read().decode()
        finally:
            process.terminate()
    assert 'chatflow_ingest_files{profile="default",state="queued"} 1.0' in text
    assert "chatflow_ingest_workers 1.0" in text
    assert "chatflow_ingest_outbox_dead 0.0" in text
