"""Results as JSON lines, CSV and Parquet."""

import csv
import io
import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from pyarrow import parquet

from worker.adapters import exports
from worker.adapters.exports import json_text, write_results
from worker.core.forms import Format
from worker.core.lifecycle import FileState
from worker.core.model.ids import BatchId, FileId
from worker.core.model.stories import FileResult
from worker.core.result_line import COLUMNS

SUBMITTED = datetime(2026, 11, 22, 9, 0, 0, 123456, tzinfo=UTC)

RESULT = FileResult(
    batch_id=BatchId(UUID(int=1)),
    file_id=FileId(UUID(int=2)),
    source='/data/合同,"x"\n=cmd.pdf',
    name="=1+1.pdf",
    size=3,
    sha256="ab",
    category="Contract",
    chatflow_file_id="1017340986451495206",
    status=5,
    state=FileState.SUCCEEDED,
    error_code=None,
    error_message="",
    parse_content="text",
    parse_segments=[{"text": "你好", "speaker_id": 0}],
    llm_content=None,
    upload_attempts=1,
    polls=2,
    submitted_at=SUBMITTED,
    finished_at=None,
    sanitized=False,
)
REJECTED = replace(
    RESULT,
    size=None,
    status=None,
    state=FileState.REJECTED,
    parse_segments=None,
    submitted_at=None,
    sanitized=True,
)


def written(results, form):
    out = io.BytesIO()
    write_results(results, form, out)
    assert not out.closed
    return out.getvalue()


def test_json_lines_hold_a_file_each():
    lines = written([RESULT, REJECTED], Format.JSONL).decode().splitlines()
    first, second = map(json.loads, lines)
    assert list(first) == list(COLUMNS)
    assert first["parse_segments"] == RESULT.parse_segments
    assert "你好" in lines[0]
    assert (second["size"], second["sanitized"]) == (None, True)


def test_csv_keeps_every_value_as_it_came():
    rows = list(csv.DictReader(io.StringIO(written([RESULT, REJECTED], Format.CSV).decode())))
    assert list(rows[0]) == list(COLUMNS)
    assert rows[0]["source"] == RESULT.source
    assert rows[0]["name"] == "=1+1.pdf"
    assert json.loads(rows[0]["parse_segments"]) == RESULT.parse_segments
    assert (rows[0]["sanitized"], rows[1]["sanitized"]) == ("false", "true")
    assert (rows[1]["size"], rows[1]["parse_segments"]) == ("", "")


def test_parquet_has_types():
    table = parquet.read_table(io.BytesIO(written([RESULT, REJECTED], Format.PARQUET)))
    assert table.column_names == list(COLUMNS)
    first, second = table.to_pylist()
    assert first["submitted_at"] == SUBMITTED
    assert str(table.schema.field("finished_at").type) == "timestamp[us, tz=UTC]"
    assert json.loads(first["parse_segments"]) == RESULT.parse_segments
    assert (second["size"], second["submitted_at"], second["sanitized"]) == (None, None, True)


@pytest.mark.parametrize("form", Format)
def test_a_batch_without_files_is_a_valid_file(form):
    content = written([], form)
    if form is Format.JSONL:
        assert content == b""
    elif form is Format.CSV:
        assert content.decode().strip().split(",") == list(COLUMNS)
    else:
        assert parquet.read_table(io.BytesIO(content)).num_rows == 0


def test_parquet_row_groups_close_by_count_and_by_weight(monkeypatch):
    monkeypatch.setattr(exports, "ROW_GROUP_ROWS", 3)
    monkeypatch.setattr(exports, "ROW_GROUP_BYTES", 10_000)
    heavy = replace(RESULT, parse_content="x" * 10_000)
    content = written([RESULT] * 4 + [heavy] * 2, Format.PARQUET)
    file = parquet.ParquetFile(io.BytesIO(content))
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sizes == [3, 2, 1]


class Nowhere(io.RawIOBase):
    """A pipe: can be written to, can't be sought in."""

    def writable(self):
        return True

    def write(self, data):
        return len(data)


@pytest.mark.parametrize("form", [Format.JSONL, Format.CSV])
def test_memory_does_not_grow_with_the_batch(form):
    megabyte = "x" * 1_000_000
    results = (replace(RESULT, parse_content=megabyte + str(n)) for n in range(200))
    tracemalloc.start()
    try:
        with io.BufferedWriter(Nowhere()) as out:
            write_results(results, form, out)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_parquet_goes_through_a_pipe():
    with io.BufferedWriter(Nowhere()) as out:
        write_results([RESULT], Format.PARQUET, out)
        assert not out.closed


@pytest.mark.parametrize("value", ["\ud800", 2**70, {"a": [2**64, "\udc00"]}])
def test_json_text_keeps_what_orjson_refuses(value):
    assert json.loads(json_text(value)) == value
    line = written([replace(RESULT, parse_segments=value)], Format.JSONL)
    assert json.loads(line)["parse_segments"] == value
    assert json.loads(line)["source"] == RESULT.source
