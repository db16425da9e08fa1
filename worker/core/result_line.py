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
    return {name: _plain(name, getattr(result, name)) for name in COLUMNS}


def _plain(name: str, value: Any) -> Any:
    match name:
        case "batch_id" | "file_id" | "state":
            return str(value)
        case "reused_from":
            return None if value is None else str(value)
        case "submitted_at" | "finished_at":
            return None if value is None else iso(value)
        case _:
            return value
