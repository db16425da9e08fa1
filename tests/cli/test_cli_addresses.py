"""Commands and sources that are URLs: drivers, secrets, places that are away."""

import json

import fsspec
import pytest

from tests.cli.desk import BATCH, fill, invoke
from worker.adapters.files import drivers, walk
from worker.simulator import running


@pytest.fixture
def service(database, monkeypatch):
    with running({}) as simulator:
        for name, value in {
            "CHATFLOW_BASE_URL": simulator.url,
            "CHATFLOW_ROBOT_KEY": "demo-key",
            "CHATFLOW_ROBOT_TOKEN": "demo-token",
            "CHATFLOW_USERNAME": "demo",
            "INGEST_BROKER_URL": "redis://127.0.0.1:1/0",
        }.items():
            monkeypatch.setenv(name, value)
        yield simulator


def roots(check):
    return [each for each in check["checks"] if each["name"] == "root"]


@pytest.mark.parametrize("command", ["run", "submit", "plan"])
def test_a_root_without_its_driver_is_an_error_that_names_the_extra(
    service, monkeypatch, tmp_path, command
):
    (tmp_path / "a.wav").write_bytes(b"x")
    monkeypatch.setenv("INGEST_ROOTS", f"{tmp_path},s3://calls")
    monkeypatch.setattr(drivers, "find_spec", lambda _: None)

    result = invoke(command, str(tmp_path / "a.wav"))

    assert result.exit_code == 2
    assert 'pip install "chatflow-ingest[s3]"' in result.stderr
    assert json.loads(invoke("status", "--json").stdout)["batches"] == []


def test_a_schedule_without_its_driver_names_the_extra(service, monkeypatch, tmp_path):
    schedule = tmp_path / "schedules.toml"
    schedule.write_text('[[schedule]]\nname = "n"\ncron = "0 2 * * *"\npaths = ["sftp://h/in"]\n')
    monkeypatch.setenv("INGEST_SCHEDULES", str(schedule))
    monkeypatch.setenv("INGEST_ROOTS", "sftp://h/in")
    monkeypatch.setattr(drivers, "find_spec", lambda _: None)

    result = invoke("schedules", "run", "n")

    assert result.exit_code == 2
    assert 'pip install "chatflow-ingest[sftp]"' in result.stderr


def test_doctor_looks_for_drivers_and_asks_addresses(service, monkeypatch):
    monkeypatch.setenv("INGEST_BROKER_URL", "memory://")
    monkeypatch.setenv("INGEST_ROOTS", "gs://calls,memory://,sftp://127.0.0.1:1/in,http://h/in")

    google, memory, away, web = roots(json.loads(invoke("doctor", "--json").stdout))

    assert (google["ok"], google["cure"]) == (False, 'pip install "chatflow-ingest[gcs]"')
    assert (memory["ok"], memory["detail"]) == (True, "memory:// (reached)")
    assert (away["ok"], "INGEST_SOURCE_OPTIONS" in away["cure"]) == (False, True)
    assert (web["ok"], "not looked at" in web["detail"]) == (True, True)


def test_a_place_that_is_away_while_it_is_listed_makes_no_batch(service, monkeypatch):
    monkeypatch.setenv("INGEST_ROOTS", "sftp://127.0.0.1:1/in")
    monkeypatch.setattr(walk, "ATTEMPTS", 1)

    result = invoke("run", "sftp://127.0.0.1:1/in")

    assert result.exit_code == 1
    assert "can't be read" in result.stderr
    assert json.loads(invoke("status", "--json").stdout)["batches"] == []


def test_config_shows_options_without_their_secrets(database, monkeypatch):
    monkeypatch.setenv(
        "INGEST_SOURCE_OPTIONS", '{"sftp": {"username": "al", "password": "hunter2!"}}'
    )
    monkeypatch.setenv("INGEST_BROKER_OPTIONS", '{"sentinel_kwargs": {"password": "hunter2!"}}')

    said = invoke("config").stdout + invoke("config", "--json").stdout

    assert "hunter2" not in said
    assert '"username": "al"' in invoke("config").stdout


def test_results_and_reports_are_written_to_addresses(store, monkeypatch):
    fill(store)
    results, report = "memory://out/night.jsonl", "memory://out/night.html"

    assert invoke("results", str(BATCH), "-o", results).exit_code == 0
    assert json.loads(invoke("report", str(BATCH), "-o", report, "--json").stdout)["path"] == report

    memory = fsspec.filesystem("memory")
    assert memory.cat("/out/night.jsonl").count(b"\n") == 4
    assert memory.cat("/out/night.html").startswith(b"<!")
    memory.rm("/out", recursive=True)
    monkeypatch.setattr(drivers, "find_spec", lambda _: None)
    result = invoke("results", str(BATCH), "-o", "s3://out/night.jsonl")
    assert result.exit_code == 2
    assert 'pip install "chatflow-ingest[s3]"' in result.stderr
