"""The forms of an export."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """The forms in which results can be had."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
