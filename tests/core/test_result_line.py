"""One line of results."""

from datetime import UTC, datetime
from uuid import UUID

from worker.core.lifecycle import FileState
from worker.core.model.ids import BatchId, FileId
from worker.core.model.stories import FileResult
from worker.core.result_line import COLUMNS, result_line

RESULT = FileResult(
    batch_id=BatchId(UUID(int=1)),
    file_id=FileId(UUID(int=2)),
    source="/data/a.wav",
    name="a.wav",
    size=3,
    sha256="ab",
    category="Audio",
    chatflow_file_id="1017340986451495206",
    status=5,
    state=FileState.SUCCEEDED,
    error_code=None,
    error_message=None,
    parse_content='[{"text": "x"}]',
    parse_segments=[{"text": "x"}],
    llm_content=None,
    upload_attempts=1,
    polls=2,
    submitted_at=datetime(2026, 11, 22, 9, 0, 0, 123456, tzinfo=UTC),
    finished_at=None,
    sanitized=False,
)


def test_the_fields_stand_in_the_order_of_the_contract():
    assert COLUMNS == (
        "batch_id", "file_id", "source", "name", "size", "sha256", "category",
        "chatflow_file_id", "status", "state", "error_code", "error_message", "parse_content",
        "parse_segments", "llm_content", "upload_attempts", "polls", "submitted_at",
        "finished_at", "sanitized", "reused_from",
    )  # fmt: skip
    assert tuple(result_line(RESULT)) == COLUMNS


def test_values_are_plain_json():
    line = result_line(RESULT)
    assert type(line["state"]) is str
    assert line["batch_id"] == "00000000-0000-0000-0000-000000000001"
    assert line["submitted_at"] == "2026-11-22T09:00:00.123Z"
    assert line["finished_at"] is None
    assert line["parse_segments"] == [{"text": "x"}]
