"""What the demonstration makes of its results."""

from dataclasses import replace
from uuid import UUID

import pytest

from worker.cli.simulator import EXPECTED, as_expected, what_came_out
from worker.core.lifecycle import FileState
from worker.core.model import BatchId, FileId, FileResult
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
