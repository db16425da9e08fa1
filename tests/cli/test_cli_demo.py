"""What the demonstration makes of its results."""

from dataclasses import replace
from io import StringIO
from uuid import UUID

import pytest
from rich.console import Console

from worker.cli.chaos import plain_environment
from worker.cli.showing import result_table, what_came_out
from worker.cli.stage import EXPECTED, as_expected
from worker.core.lifecycle import FileState
from worker.core.model.ids import BatchId, FileId
from worker.core.model.stories import FileResult
from worker.simulator import write_samples

RESULT = FileResult(
    batch_id=BatchId(UUID(int=1)),
    file_id=FileId(UUID(int=2)),
    source="/demo/morning-call.wav",
    name="morning-call.wav",
    size=3,
    sha256=None,
    category=None,
    chatflow_file_id=None,
    status=5,
    state=FileState.SUCCEEDED,
    error_code=None,
    error_message=None,
    parse_content=None,
    parse_segments=None,
    llm_content=None,
    upload_attempts=1,
    polls=2,
    submitted_at=None,
    finished_at=None,
    sanitized=False,
)
BROKEN = replace(RESULT, name="broken-recording.wav", state=FileState.FAILED)


def test_the_samples_that_must_not_succeed_are_there(tmp_path):
    assert set(EXPECTED) < {path.name for path in write_samples(tmp_path)}


def test_the_demo_is_well_when_each_sample_ends_as_it_must():
    assert as_expected([RESULT, BROKEN])
    assert not as_expected([RESULT, replace(BROKEN, state=FileState.SUCCEEDED)])
    assert not as_expected([replace(RESULT, state=FileState.FAILED), BROKEN])
    assert not as_expected([])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"parse_segments": [{"text": "a"}, {"text": "b"}, {"page": 1}, "c"]}, "a / b / c"),
        ({"parse_content": "plain"}, "plain"),
        ({"error_code": "empty", "error_message": "the file is empty"}, "the file is empty"),
        ({}, ""),
    ],
)
def test_what_came_out_is_told_in_short(changes, text):
    assert what_came_out(replace(RESULT, **changes)) == text


@pytest.mark.parametrize("width", [80, 100, 110, 200])
def test_each_file_is_one_line_however_narrow_the_terminal(width):
    long = replace(BROKEN, error_message="the service says a great deal about it " * 5)
    console = Console(file=StringIO(), width=width)
    console.print(result_table([RESULT, long], width))

    lines = [line for line in console.file.getvalue().splitlines() if line.strip()]
    assert len(lines) == 4  # heads, a rule, and the files
    assert "the service says" in lines[-1]


def test_a_child_of_the_demo_has_no_configuration_but_its_own(monkeypatch):
    monkeypatch.setenv("CHATFLOW_ROBOT_KEY", "real")
    monkeypatch.setenv("INGEST_PROFILES", "real.toml")
    found = plain_environment({"INGEST_ROOTS": ["/a", "/b"], "INGEST_PROFILES": None, "PATH": "/p"})
    assert {n: v for n, v in found.items() if n.startswith(("CHATFLOW_", "INGEST_"))} == {
        "INGEST_ROOTS": "/a,/b"
    }
    assert found["PATH"] == "/p"
