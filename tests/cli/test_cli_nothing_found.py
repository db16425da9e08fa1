"""A run that finds nothing to ingest is no success, and makes nothing."""

import json

import pytest

from tests.cli.desk import invoke

CONFIGURED = {
    "CHATFLOW_BASE_URL": "http://127.0.0.1:9",
    "CHATFLOW_ROBOT_KEY": "k",
    "CHATFLOW_ROBOT_TOKEN": "t",
    "CHATFLOW_USERNAME": "u",
}


@pytest.fixture
def empty(database, tmp_path, monkeypatch):
    """A folder that holds files only in folders below."""
    for name, value in CONFIGURED.items():
        monkeypatch.setenv(name, value)
    below = tmp_path / "calls" / "monday"
    below.mkdir(parents=True)
    (below / "one.wav").write_bytes(b"RIFF")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "code"), [(["run"], 1), (["submit"], 2), (["run", "--dry-run"], 1), (["plan"], 1)]
)
def test_nothing_found_says_how_to_find_more(empty, command, code):
    result = invoke(*command, "calls")
    assert (result.exit_code, result.stdout) == (code, "")
    assert "nothing to ingest: no file in calls" in result.stderr
    assert "--recursive" in result.stderr
    assert "--allow-empty" in result.stderr


def test_a_pattern_that_fits_no_name_is_said(empty):
    result = invoke("run", "calls", "--recursive", "--glob", "*.mp3")
    assert result.exit_code == 1
    assert "'*.mp3'" in result.stderr
    assert "add --recursive" not in result.stderr


def test_no_batch_is_made(empty):
    for more in ([], ["--allow-empty"]):
        invoke("run", "calls", *more)
    assert json.loads(invoke("status", "--json").stdout)["batches"] == []


@pytest.mark.parametrize("command", ["run", "submit"])
def test_jobs_that_may_find_nothing_say_so(empty, command):
    result = invoke(command, "calls", "--allow-empty")
    assert (result.exit_code, result.stdout) == (0, "")


@pytest.mark.parametrize(("more", "code"), [([], 1), (["--allow-empty"], 0)])
def test_the_one_json_object_has_no_batch(empty, more, code):
    result = invoke("run", "calls", "--json", "--external-key", "nightly", *more)
    assert result.exit_code == code
    said = json.loads(result.stdout)
    assert (said["batch_id"], said["total"], said["external_key"]) == (None, 0, "nightly")
    invoke("submit", "gone.wav", "--external-key", "nightly")
    assert list(said) == list(json.loads(invoke("status", "nightly", "--json").stdout))


def test_a_gone_file_is_something(empty):
    result = invoke("submit", "gone.wav")
    assert result.exit_code == 0
