"""One file's story: what happened when, what comes next and why, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from worker.cli.terminal import shown, shown_block, table
from worker.core.model.stories import FileResult, FileStory
from worker.core.report import iso
from worker.core.result_line import result_line
from worker.core.story import moments, next_text
from worker.core.transcript import turns

if TYPE_CHECKING:
    from rich.table import Table


def story_object(story: FileStory) -> dict[str, Any]:
    """One file's story as JSON values: its result line, its events, uploads, and what is next."""
    return result_line(story.result) | {
        "events": [_plain(asdict(event)) for event in story.events],
        "uploads": [_plain(asdict(upload)) for upload in story.uploads],
        "place": None if story.place is None else _plain(asdict(story.place)),
    }


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {key: _plain_value(value) for key, value in record.items()}


def _plain_value(value: Any) -> Any:
    match value:
        case datetime():
            return iso(value)
        case None | int() | float():
            return value
        case _:
            return str(value)


def story_parts(story: FileStory, now: float) -> Iterator[Table | str]:
    """One file's story, a part at a time; `now` is the database's clock, POSIX seconds."""
    yield table("file", str(story.result.file_id), rows=_result_rows(story, now))
    yield table(
        "at (UTC)",
        "what",
        "details",
        rows=((_exact(at), what, words) for at, what, words in moments(story)),
    )
    for name in ("parse_content", "llm_content"):
        text = getattr(story.result, name)
        if text is not None:
            yield f"{name}:\n{shown_block(text)}\n"


def _result_rows(story: FileStory, now: float) -> Iterator[tuple[str, object]]:
    apart = {"file_id", "parse_content", "parse_segments", "llm_content"}
    for name, value in result_line(story.result).items():
        if name in apart or value is None or value is False:
            continue
        yield name, value
    if story.place is not None:
        yield "next", next_text(story.result.state, story.place, now)


def transcript_lines(result: FileResult) -> Iterator[str]:
    """What was extracted, a speaker or a page at a time."""
    for turn in turns(result.parse_content, result.parse_segments):
        head = ", ".join(filter(None, (turn.who, turn.where)))
        yield f"{shown(head)}:" if head else ""
        yield shown_block(turn.text)


def _exact(moment: datetime) -> str:
    """To the millisecond: in a file's story the order and the gaps are what one looks for."""
    return moment.astimezone(UTC).isoformat(" ", "milliseconds")[:23]
