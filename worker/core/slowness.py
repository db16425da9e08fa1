"""Which files take long beside their own kind: a hint for people, never a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

from worker.core.model.fleet import FileKind
from worker.core.planning import format_of
from worker.core.ready_times import ENOUGH, Sketch, size_class
from worker.core.seen import Flying, SlowFile

MANY_TIMES = 1.5
"""How many times the p95 of its kind a file has to take: one in twenty takes longer than that."""

AT_LEAST = 5.0
"""Seconds beyond which a file can be slow at all."""


def slow_files(flying: Iterable[Flying], known: Mapping[FileKind, Sketch]) -> list[SlowFile]:
    """Those of the files at the service that are slow for their kind, in the same order.

    A file's kind is its category, format and size; where too few of that size are remembered, its
    category and format. What has no history is never slow.
    """
    found = []
    for file in flying:
        usual = _usual(FileKind(file.category, format_of(file.name), size_class(file.size)), known)
        if usual is not None and file.seconds > max(AT_LEAST, MANY_TIMES * usual):
            kind = format_of(file.name) or file.category
            found.append(SlowFile(file.file_id, file.name, kind, file.seconds, usual))
    return found


def _usual(kind: FileKind, known: Mapping[FileKind, Sketch]) -> float | None:
    """The 95th percentile of the times to ready of such files, in seconds; None if unknown."""
    own = known.get(kind, Sketch())
    if own.total < ENOUGH:
        of_any_size = (
            sketch
            for other, sketch in known.items()
            if (other.category, other.format) == (kind.category, kind.format)
        )
        own = reduce(Sketch.merge, of_any_size, Sketch())
    return own.quantile(0.95) if own.total >= ENOUGH else None
