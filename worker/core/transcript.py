"""What was extracted from a file, to be read: who says what, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_SPEAKERS = ("speaker_name", "speaker", "speaker_id", "role")
_PLACES = (("page", "page"), ("page_no", "page"), ("start", "at"), ("start_time", "at"))


@dataclass(frozen=True, slots=True)
class Turn:
    """One stretch of text: who says it, or where it stands, where that is known."""

    who: str | None
    where: str | None
    text: str


def turns(parse_content: str | None, parse_segments: Any) -> Iterator[Turn]:
    """The segments as turns; neighbours of one speaker or page are one turn.

    A text that has no segments is one turn.
    """
    if not isinstance(parse_segments, list):  # a text, or an object that says no order
        if parse_content:
            yield Turn(None, None, parse_content)
        return
    gathered: Turn | None = None
    for segment in parse_segments:
        turn = _turn(segment)
        if turn is None:
            continue
        if gathered is not None and turn.who == gathered.who and _same_place(turn, gathered):
            gathered = Turn(gathered.who, gathered.where, f"{gathered.text}\n{turn.text}")
            continue
        if gathered is not None:
            yield gathered
        gathered = turn
    if gathered is not None:
        yield gathered


def _same_place(one: Turn, other: Turn) -> bool:
    return one.where == other.where or one.who is not None


def _turn(segment: Any) -> Turn | None:
    match segment:
        case dict():
            text = segment.get("text") or segment.get("content")
            if not text:
                return None
            return Turn(_speaker(segment), _place(segment), str(text))
        case None | "":
            return None
        case _:
            return Turn(None, None, str(segment))


def _speaker(segment: dict[str, Any]) -> str | None:
    for name in _SPEAKERS:
        value = segment.get(name)
        if value is not None and value != "":
            numbered = isinstance(value, int) or name == "speaker_id"
            return f"Speaker {value}" if numbered else str(value)
    return None


def _place(segment: dict[str, Any]) -> str | None:
    for name, word in _PLACES:
        value = segment.get(name)
        if value is not None and value != "":
            return f"{word} {value}"
    return None
