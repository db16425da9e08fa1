"""Writes results as JSON lines, CSV or Parquet, a piece at a time.

Whatever the format, what is in memory is one line, or for Parquet one row group. The values are
the service's own: a CSV cell that a spreadsheet would take for a formula is left as it came.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, assert_never

import orjson

from worker.core.forms import Format
from worker.core.model.stories import FileResult
from worker.core.result_line import COLUMNS, result_line

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_ROWS = 5_000
ROW_GROUP_BYTES = 32 * 1024**2


def write_results(results: Iterable[FileResult], form: Format, out: BinaryIO) -> None:
    """Write all results to `out`, which stays open; it need not be seekable."""
    match form:
        case Format.JSONL:
            _write_jsonl(results, out)
        case Format.CSV:
            _write_csv(results, out)
        case Format.PARQUET:
            _write_parquet(results, out)
        case _:
            assert_never(form)


def json_text(value: Any) -> bytes:
    """Compact JSON in UTF-8, also of what orjson refuses.

    A segment may hold an integer beyond 64 bits or, decoded from an escape, half of a surrogate
    pair: both stay exact, the latter as the escape it was.
    """
    try:
        return orjson.dumps(value)
    except TypeError:  # orjson.JSONEncodeError is one
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def _write_jsonl(results: Iterable[FileResult], out: BinaryIO) -> None:
    out.writelines(json_text(result_line(result)) + b"\n" for result in results)


def _write_csv(results: Iterable[FileResult], out: BinaryIO) -> None:
    text = io.TextIOWrapper(out, encoding="utf-8", errors="backslashreplace", newline="")
    try:
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(_with_segments_as_text(result) for result in results)
        text.flush()
    finally:
        text.detach()


def _with_segments_as_text(result: FileResult) -> dict[str, Any]:
    line = result_line(result)
    if result.parse_segments is not None:
        line["parse_segments"] = json_text(result.parse_segments).decode()
    line["sanitized"] = "true" if result.sanitized else "false"
    return line


def _write_parquet(results: Iterable[FileResult], out: BinaryIO) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema()
    # Closing the sink would close `out`; the writer itself closes only what it has opened.
    sink = pa.PythonFile(out, mode="w")
    with parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        for rows in _row_groups(results):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    sink.flush()


def _schema() -> pa.Schema:
    import pyarrow as pa

    special = {
        "size": pa.int64(),
        "status": pa.int32(),
        "upload_attempts": pa.int32(),
        "polls": pa.int32(),
        "submitted_at": pa.timestamp("us", tz="UTC"),
        "finished_at": pa.timestamp("us", tz="UTC"),
        "sanitized": pa.bool_(),
    }
    return pa.schema([(name, special.get(name, pa.string())) for name in COLUMNS])


def _row_groups(results: Iterable[FileResult]) -> Iterator[list[dict[str, Any]]]:
    """Rows until a group is full, by count or, contents being of any size, by characters."""
    rows: list[dict[str, Any]] = []
    weight = 0
    for result in results:
        row = _typed_row(result)
        rows.append(row)
        weight += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(rows) >= ROW_GROUP_ROWS or weight >= ROW_GROUP_BYTES:
            yield rows
            rows, weight = [], 0
    if rows:
        yield rows


def _typed_row(result: FileResult) -> dict[str, Any]:
    line = _with_segments_as_text(result)
    return line | {
        "submitted_at": result.submitted_at,
        "finished_at": result.finished_at,
        "sanitized": result.sanitized,
    }
