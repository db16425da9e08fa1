"""One line of results: the fields that every export shares, in their fixed order."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from worker.core.model.stories import FileResult
from worker.core.report import iso

COLUMNS = tuple(field.name for field in fields(FileResult))
"""The names of a line's fields, in the order of the outward contract."""


def result_line(result: FileResult) -> dict[str, Any]:
    """A file's result as plain JSON values, its keys in the order of `COLUMNS`."""
    line = {name: getattr(result, name) for name in COLUMNS}
    line["batch_id"] = str(result.batch_id)
    line["file_id"] = str(result.file_id)
    line["state"] = result.state.value
    if result.reused_from is not None:
        line["reused_from"] = str(result.reused_from)
    if result.submitted_at is not None:
        line["submitted_at"] = iso(result.submitted_at)
    if result.finished_at is not None:
        line["finished_at"] = iso(result.finished_at)
    return line
