"""A batch as one page of HTML: drawn by a template engine that escapes, a piece at a time.

The page needs no network and no script: the one script, which its own policy names by its hash,
only searches, filters and sorts. Whatever a file is called or holds is text there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, BinaryIO

from worker.adapters.pages.engine import environment, text_of
from worker.core.figures import Figures, bands
from worker.core.model.batches import BatchStatus
from worker.core.model.stories import FileResult
from worker.core.seen import BatchDetails, FileLine, Reason

ROWS = 500
"""Files in one table of the page: a browser lays out only the tables that are looked at."""

CATEGORIES = 12
"""Categories whose times are drawn."""

BUFFERED = 200
"""Pieces of text that are written at once."""

SCRIPT = text_of("report.js")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a page is about.

    Attributes:
        contents_limit: how many of the first files are shown with their contents, 0 for none.
    """

    status: BatchStatus
    details: BatchDetails
    reasons: list[Reason]
    figures: Figures
    made_at: datetime
    contents_limit: int


def write_page(
    subject: Subject,
    lines: Iterable[FileLine],
    results: Iterable[FileResult],
    out: BinaryIO,
) -> None:
    """Write the page about a batch.

    Args:
        subject: the batch, and what was gathered about its files.
        lines: its files, once more, in their turns.
        results: the first of them with their contents.
    """
    stream = (
        environment()
        .get_template("report.html.j2")
        .stream(
            **summary(subject),
            title=f"Batch {subject.status.external_key or subject.status.batch_id}",
            style=text_of("theme.css") + text_of("parts.css"),
            pages=_pages(lines, subject.contents_limit),
            with_contents=subject.contents_limit > 0,
            contents_limit=subject.contents_limit,
            contents=islice(results, subject.contents_limit),
            script=SCRIPT,
            script_hash=base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode(),
        )
    )
    stream.enable_buffering(BUFFERED)
    out.writelines(piece.encode("utf-8", "backslashreplace") for piece in stream)


def summary(subject: Subject) -> dict[str, Any]:
    """What `batch.html.j2` draws: all about the batch but its single files."""
    figures = subject.figures
    return {
        "status": subject.status,
        "details": subject.details,
        "reasons": subject.reasons,
        "figures": figures,
        "made_at": subject.made_at,
        "heading": subject.status.external_key or "Batch report",
        "bands": bands(figures.over_time(), figures.files, 720.0, 200.0),
        "times": figures.times()[:CATEGORIES],
        "slowest": figures.slowest(),
    }


def _pages(
    lines: Iterable[FileLine], linked: int
) -> Iterator[list[tuple[FileLine, int, float | None]]]:
    """Tables of rows: a file, the number of its contents (0: none), seconds that it took."""
    numbered = enumerate(lines, start=1)
    while some := list(islice(numbered, ROWS)):
        yield [(line, n if n <= linked else 0, took(line)) for n, line in some]


def took(line: FileLine) -> float | None:
    """Seconds from a file's acceptance to its end, None where it has not come to both."""
    if line.submitted_at is None or line.finished_at is None:
        return None
    return max(0.0, (line.finished_at - line.submitted_at).total_seconds())
