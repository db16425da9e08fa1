"""Writes results as JSON lines, CSV or Parquet, a piece at a time.

Whatever the format, what is in memory is one line, or for Parquet one row group. The values are
the service's own: a CSV cell that a spreadsheet would take for a formula is left as it came.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
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
    line["parse_segments"] = _segments_text(result)
    line["sanitized"] = "true" if result.sanitized else "false"
    return line


def _segments_text(result: FileResult) -> str | None:
    segments = result.parse_segments
    return None if segments is None else json_text(segments).decode()


def _write_parquet(results: Iterable[FileResult], out: BinaryIO) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema()
    # Closing the sink would close `out`; the writer itself closes only what it has opened.
    sink = pa.PythonFile(out, mode="w")
    with parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in _row_groups(results):
            writer.write_table(_table(group, schema))
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


def _row_groups(results: Iterable[FileResult]) -> Iterator[list[FileResult]]:
    """Results until a group is full, by count or, contents being of any size, by characters."""
    group: list[FileResult] = []
    weight = 0
    for result in results:
        group.append(result)
        weight += _weight(result)
        if len(group) >= ROW_GROUP_ROWS or weight >= ROW_GROUP_BYTES:
            yield group
            group, weight = [], 0
    if group:
        yield group


def _weight(result: FileResult) -> int:
    """Characters of what may be large; segments are another form of the contents."""
    return 2 * len(result.parse_content or "") + len(result.llm_content or "") + len(result.source)


_AS_TEXT: Mapping[str, Callable[[FileResult], str | None]] = {
    "batch_id": lambda result: str(result.batch_id),
    "file_id": lambda result: str(result.file_id),
    "state": lambda result: result.state.value,
    "parse_segments": _segments_text,
    "reused_from": lambda result: None if result.reused_from is None else str(result.reused_from),
}


def _table(group: Sequence[FileResult], schema: pa.Schema) -> pa.Table:
    """A column at a time, which costs a tenth of a row at a time."""
    import pyarrow as pa

    columns = [
        pa.array(list(map(_AS_TEXT.get(field.name) or attrgetter(field.name), group)), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
