"""The commands on a database that was filled by hand."""

import csv
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from tests.cli.desk import BATCH, CREW, EVIL, SOURCES, UNKNOWN, invoke
from worker.adapters.database import run_lock
from worker.cli import app
from worker.cli.views import results_lines
from worker.core.lifecycle import FileState, Lane
from worker.core.model.batches import NewBatch
from worker.core.model.ids import BatchId, run_crew
from worker.core.model.stories import FilePlace
from worker.core.result_line import COLUMNS
from worker.core.story import next_text


def lines_of(*arguments):
    result = invoke("results", str(BATCH), *arguments)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def file_id_of(store, source):
    return next(str(r.file_id) for r in store.results(BATCH) if r.source == source)


# --- status --------------------------------------------------------------------------------------


def test_status_gives_one_json_object(filled):
    result = invoke("status", str(BATCH), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    status = json.loads(result.stdout)
    assert list(status) == [
        "batch_id", "external_key", "profile", "state", "total", "counts", "started_at",
        "finished_at", "profile_state", "profile_reason", "reason",
        "attended_by", "errors", "uploads", "eta_seconds", "slow", "breakers",
    ]  # fmt: skip
    assert (status["batch_id"], status["external_key"]) == (str(BATCH), "nightly")
    assert (status["state"], status["total"]) == ("running", 4)
    assert status["counts"] == {"queued": 1, "succeeded": 1, "failed": 1, "rejected": 1}
    assert (status["attended_by"], status["errors"]) == ("nobody", {"empty": 1, "parse_failed": 1})
    assert set(status["uploads"]) == {"accepted", "refused", "unknown", "repeated"}


def test_status_lists_the_newest_batch_first(filled):
    second = BatchId(uuid4())
    filled.create_batch(NewBatch(second, "default", CREW))
    batches = json.loads(invoke("status", "--json").stdout)["batches"]
    assert [batch["batch_id"] for batch in batches] == [str(second), str(BATCH)]
    listed = invoke("status").stdout
    assert listed.index(str(second)) < listed.index(str(BATCH))


def test_status_is_told_to_a_human(filled):
    told = invoke("status", str(BATCH)).stdout
    for word in ("running", "nightly", "queued", "succeeded", "rate", "time left", "nobody"):
        assert word in told


def test_status_says_who_attends_and_what_holds_a_batch(filled):
    filled.attend("one", None, "host:1", 60)
    filled.attend("two", None, "host:2", 60)
    filled.freeze("default", ["upload"], 90.0, "429 Too Many Requests")
    told = invoke("status", str(BATCH)).stdout
    assert "2 workers" in told
    assert "profile frozen for 1 min" in told
    assert "429 Too Many Requests" in told
    assert json.loads(invoke("status", "latest", "--json").stdout)["attended_by"] == "workers"


def test_a_killed_run_attends_to_nothing(filled):
    batch = BatchId(uuid4())
    filled.create_batch(NewBatch(batch, "default", run_crew(batch)))
    filled.add_files(batch, ["/a"])
    filled.attend("run", run_crew(batch), "host:1", 60)
    assert json.loads(invoke("status", str(batch), "--json").stdout)["attended_by"] == "nobody"
    assert f"run --resume {batch}" in invoke("status", str(batch)).stdout
    with run_lock(os.environ["INGEST_DATABASE_URL"]):
        assert json.loads(invoke("status", str(batch), "--json").stdout)["attended_by"] == "run"


def test_the_list_says_that_there_are_more(filled):
    for _ in range(2):
        filled.create_batch(NewBatch(BatchId(uuid4()), "default", CREW))
    result = invoke("status", "--limit", "2")
    assert "--limit 0" in result.stderr
    listed = json.loads(invoke("status", "--limit", "2", "--json").stdout)
    assert (len(listed["batches"]), listed["more"]) == (2, True)
    assert len(json.loads(invoke("status", "--limit", "0", "--json").stdout)["batches"]) == 3


def test_watching_ends_with_the_batch(filled):
    filled.cancel(BATCH)
    result = invoke("status", str(BATCH), "--watch", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["state"] == "cancelled"
    assert "4 of 4 done" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["status", UNKNOWN],
        ["status", "nonsense", "--json"],
        ["results", UNKNOWN],
        ["results", "nonsense"],
        ["retry", UNKNOWN],
        ["cancel", UNKNOWN],
        ["cancel", "nonsense"],
        ["run", "--resume", UNKNOWN],
        ["run", "--resume", "nonsense"],
        ["show", UNKNOWN],
        ["show", "nonsense"],
        ["notify", "replay", UNKNOWN],
    ],
)
def test_an_unknown_id_is_a_usage_error(store, command):
    result = invoke(*command)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


# --- results -------------------------------------------------------------------------------------


def test_results_list_every_file_in_whatever_state(filled):
    lines = lines_of()
    assert [line["source"] for line in lines] == SOURCES
    assert [line["state"] for line in lines] == ["succeeded", "failed", "rejected", "queued"]
    assert all(list(line) == list(COLUMNS) for line in lines)
    assert lines[0]["parse_segments"] == [{"text": "你好"}]
    assert (lines[1]["error_code"], lines[1]["error_message"]) == ("parse_failed", "no text layer")


def test_results_can_be_narrowed(filled):
    lines = lines_of("--state", "failed", "--state", "queued")
    assert [line["state"] for line in lines] == ["failed", "queued"]


def test_the_three_formats_say_the_same(filled, tmp_path):
    lines = lines_of()
    rows = list(
        csv.DictReader(io.StringIO(invoke("results", str(BATCH), "--format", "csv").stdout))
    )
    assert [row["file_id"] for row in rows] == [line["file_id"] for line in lines]
    assert rows[2]["source"] == EVIL
    output = tmp_path / "results.parquet"
    assert invoke("results", str(BATCH), "--format", "parquet", "-o", str(output)).exit_code == 0
    table = parquet.read_table(output).to_pylist()
    assert [row["source"] for row in table] == SOURCES
    assert [row["polls"] for row in table] == [line["polls"] for line in lines]


def test_parquet_may_go_into_a_pipe(filled):
    result = CliRunner().invoke(app, ["results", str(BATCH), "--format", "parquet"])
    assert parquet.read_table(io.BytesIO(result.stdout_bytes)).num_rows == 4


def test_an_output_file_is_replaced_only_by_a_whole_one(filled, tmp_path, monkeypatch):
    output = tmp_path / "results.jsonl"
    output.write_text("old")

    def breaks_off(*_):
        raise RuntimeError

    monkeypatch.setattr("worker.adapters.exports.write_results", breaks_off)
    assert isinstance(invoke("results", str(BATCH), "-o", str(output)).exception, RuntimeError)
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if "results" in path.name] == ["results.jsonl"]


def test_an_unknown_batch_leaves_no_file(store, tmp_path):
    assert invoke("results", UNKNOWN, "-o", str(tmp_path / "out")).exit_code == 2
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_a_usage_error(filled, tmp_path):
    result = invoke("results", str(BATCH), "-o", str(tmp_path / "missing" / "out"))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: can't write ")


def test_a_reader_that_leaves_early_is_no_error(filled):
    filled.add_files(BATCH, [f"/data/{number}.wav" for number in range(3000)])
    command = [sys.executable, "-m", "worker.cli", "results", str(BATCH)]
    with subprocess.Popen(
        command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def _environment():
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)}


# --- show ----------------------------------------------------------------------------------------


def test_show_tells_a_files_story(filled):
    told = invoke("show", file_id_of(filled, SOURCES[0])).stdout
    for word in ("/data/one.wav", "polling", "succeeded", "你好", "a summary"):
        assert word in told
    failed = invoke("show", file_id_of(filled, SOURCES[1])).stdout
    assert "no text layer" in failed


def test_show_gives_one_json_object(filled):
    story = json.loads(invoke("show", file_id_of(filled, SOURCES[1]), "--json").stdout)
    assert [name for name in story if name in COLUMNS] == list(COLUMNS)
    assert story["events"][-1]["state"] == "failed"
    assert story["uploads"] == []


def test_a_name_cannot_steer_the_terminal(filled):
    told = invoke("show", file_id_of(filled, EVIL)).stdout
    assert "\x1b[2J" not in told
    assert r"evil\x1b[2J\nname.wav" in told


def broker_is_away(monkeypatch):
    monkeypatch.setenv("INGEST_BROKER_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr("worker.cli.waking.PATIENCE", 0.1)


# --- cancel and retry ----------------------------------------------------------------------------


def test_cancel_ends_what_is_open(filled):
    result = invoke("cancel", str(BATCH))
    assert result.exit_code == 0
    assert "open files: 1" in result.stdout
    assert lines_of()[3]["state"] == "cancelled"
    assert "already" in invoke("cancel", str(BATCH)).stdout


def test_every_command_that_says_something_says_it_as_json_too(filled):
    said = {
        words: json.loads(invoke(*words.split(), "--json").stdout)
        for words in ("cancel latest", "cancel nightly", "notify replay", "db current")
    }
    assert (said["cancel latest"]["state"], said["cancel latest"]["cancelled"]) == ("cancelled", 1)
    assert said["cancel nightly"]["cancelled"] == 0
    assert said["notify replay"] == {"replayed": 0}
    assert said["db current"]["revision"] == said["db current"]["wanted"]


def test_retry_with_a_broker_hands_back_although_the_broker_is_away(filled, monkeypatch):
    broker_is_away(monkeypatch)
    filled.cancel(BATCH)
    result = invoke("retry", str(BATCH), "--only", "rejected")
    assert (result.exit_code, result.stdout) == (0, "")
    assert [line["state"] for line in lines_of()] == ["succeeded", "failed", "queued", "cancelled"]


def test_resuming_a_batch_that_is_over_is_done_at_once(filled):
    filled.cancel(BATCH)
    result = invoke("run", "--resume", str(BATCH), "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["state"] == "cancelled"


# --- submit --------------------------------------------------------------------------------------


def test_submit_writes_the_batch_although_the_broker_is_away(store, tmp_path, monkeypatch):
    broker_is_away(monkeypatch)
    (tmp_path / "one.wav").write_bytes(b"RIFF")
    result = invoke("submit", "one.wav", "gone.wav", "--external-key", "k", "--inputs", '{"a": 1}')
    assert result.exit_code == 0
    batch = BatchId(UUID(result.stdout.strip()))
    assert store.status(batch).total == 2
    again = invoke("submit", "one.wav", "more.wav", "--external-key", "k", "--json")
    assert json.loads(again.stdout)["batch_id"] == str(batch)
    assert json.loads(again.stdout)["total"] == 3


def test_submit_without_a_broker_writes_the_batch_and_says_how_to_go_on(store):
    result = invoke("submit", "one.wav")
    assert result.exit_code == 0
    batch = UUID(result.stdout.strip())
    assert store.status(batch).total == 1
    assert f"run --resume {batch}" in result.stderr


# --- usage and configuration ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [""],
        ["a.wav", "--inputs", "[1]"],
        ["a.wav", "--inputs", "{nonsense"],
        ["a.wav", "--inputs", '{"a": NaN}'],
        ["a.wav", "--profile", "nobody"],
        ["a.wav", "--timeout", "-1"],
        ["a.wav", "--resume", str(BATCH)],
        ["--resume", str(BATCH), "--category", "x"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_exits_2_and_starts_nothing(database, tmp_path, arguments):
    result = invoke("run", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr
    assert not (tmp_path / "test.db").exists()


def test_missing_configuration_names_every_variable(database, tmp_path):
    result = invoke("run", "a.wav")
    assert result.exit_code == 2
    named = [line.split()[1].rstrip(":") for line in result.stderr.splitlines()]
    assert named == [
        "CHATFLOW_BASE_URL", "CHATFLOW_ROBOT_KEY", "CHATFLOW_ROBOT_TOKEN", "CHATFLOW_USERNAME",
    ]  # fmt: skip
    assert not (tmp_path / "test.db").exists()


def test_a_database_without_tables_says_what_to_do(database, monkeypatch):
    monkeypatch.setenv("INGEST_AUTO_MIGRATE", "false")
    result = invoke("status")
    assert result.exit_code == 2
    assert "chatflow-ingest db upgrade" in result.stderr


def test_the_tables_come_and_go(database):
    assert invoke("db", "current").stdout == "none\n"
    assert invoke("db", "upgrade").exit_code == 0
    upgraded = invoke("db", "current")
    assert upgraded.stdout != "none\n"
    assert upgraded.stderr == ""
    assert invoke("db", "downgrade", "base").stdout == "at revision none\n"
    assert invoke("db", "upgrade").exit_code == 0
    assert invoke("db", "downgrade", "-1").exit_code == 0


def test_a_revision_that_does_not_exist_is_a_usage_error(database):
    invoke("db", "upgrade")
    result = invoke("db", "downgrade", "nonsense")
    assert result.exit_code == 2
    assert "nonsense" in result.stderr


def test_replaying_nothing_is_well(store):
    assert invoke("notify", "replay").stdout == "0 notifications to be sent again\n"


def test_doctor_says_what_is_missing(database, monkeypatch, tmp_path):
    monkeypatch.setenv("INGEST_ROOTS", f"{tmp_path},{tmp_path / 'gone'}")
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "CHATFLOW_BASE_URL: not set" in result.stdout
    assert "see INGEST_ROOTS" in result.stdout
    checks = json.loads(invoke("doctor", "--json").stdout)["checks"]
    well = {check["name"] for check in checks if check["ok"]}
    assert {"configuration", "database", "clock", "broker", "root"} <= well


def test_doctor_reports_faulty_variables_and_stops(database, monkeypatch):
    monkeypatch.setenv("INGEST_BROKER_URL", "carrier-pigeon://")
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "INGEST_BROKER_URL" in result.stdout
    assert len(result.stdout.splitlines()) == 1


def test_doctor_finds_a_broker_that_is_away(database, monkeypatch):
    monkeypatch.setenv("INGEST_BROKER_URL", "redis://user:hidden@127.0.0.1:1/0")
    checks = json.loads(invoke("doctor", "--json").stdout)["checks"]
    broker = next(check for check in checks if check["name"] == "broker")
    assert not broker["ok"]
    assert "127.0.0.1:1" in broker["detail"] or "refused" in broker["detail"]
    assert "hidden" not in json.dumps(checks)


# --- what is refused before anything is written ---------------------------------------------------


def test_files_for_a_cancelled_batch_are_refused_with_the_way_to_open_it(filled, tmp_path):
    late = tmp_path / "late.txt"
    late.write_text("late")
    command = ["submit", str(late), "--external-key", "evening"]
    batch = invoke(*command).stdout.strip()
    invoke("cancel", batch)
    refused = invoke(*command)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"retry {batch} --only cancelled" in refused.stderr
    assert filled.status(BatchId(UUID(batch))).total == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--external-key", "x" * 2000], "external_key"),
        (["--external-key", "\udcff"], "external_key"),
        (["--category", "x" * 2000], "category"),
        (["--profile", "default/x"], "profile"),
        (["--inputs", '{"x": "' + "y" * 2_000_000 + '"}'], "inputs"),
    ],
)
def test_what_no_message_could_hand_in_is_no_usage_either(filled, options, named):
    for command in ("submit", "run"):
        refused = invoke(command, "x.txt", *options)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert named in refused.stderr
    assert len(filled.batches()) == 1


def test_a_refused_batch_says_why(filled):
    refused = BatchId(uuid4())
    filled.reject(NewBatch(refused, "default", CREW), "category: Input should be a valid string")
    told = json.loads(invoke("status", str(refused), "--json").stdout)
    assert (told["state"], told["reason"]) == (
        "rejected",
        "category: Input should be a valid string",
    )
    assert "valid string" in invoke("status", str(refused)).stdout
    assert "rejected" in invoke("status").stdout


# --- a file's story ------------------------------------------------------------------------------


def test_an_open_file_says_what_comes_next(filled):
    told = invoke("show", "latest", "waiting.txt").stdout
    assert "to be uploaded as soon as somebody is free" in told
    filled.claim("default", CREW, Lane.SUBMIT, 10, 60)
    assert "in a worker's hands" in invoke("show", "latest", "waiting.txt").stdout
    story = json.loads(invoke("show", "latest", "waiting.txt", "--json").stdout)
    assert story["place"]["held"] is True


def test_a_transcript_is_only_what_is_said(filled):
    assert invoke("show", "latest", "one.wav", "--transcript").stdout == "\n你好\n"


def test_results_on_a_terminal_are_a_line_a_file(filled):
    lines = list(results_lines(filled.results(BATCH), 60))
    assert len(lines) == 5
    assert max(map(len, lines)) <= 60
    assert "你好" in lines[1]
    assert "parse_failed" in lines[2]


SOON = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (FilePlace(SOON, False, CREW, 0, SOON), "asked for its status in 12 s; its deadline is in"),
        (FilePlace(SOON, False, CREW, 3, None), "after 3 calls in a row that failed"),
        (FilePlace(SOON, True, run_crew(BATCH), 0, None), "in a run's hands"),
    ],
)
def test_what_comes_next_is_told_with_its_reason(place, words):
    assert words in next_text(FileState.POLLING, place, SOON.timestamp() - 12)
