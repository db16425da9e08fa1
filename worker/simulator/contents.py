"""The shapes in which parsed contents come over the wire, from a description in the scenario."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from pydantic import JsonValue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.simulator.behaviours import Content, Shape

Json: TypeAlias = JsonValue

FILE_NAME = "{file_name}"
FILLER = "lorem ipsum dolor sit amet "


def names_the_file(content: Content) -> bool:
    """Whether the rendered content differs from file to file."""
    return FILE_NAME in content.model_dump_json()


def render(content: Content, file_name: str) -> Json:
    """The JSON value that the status call sends.

    `broken_repr` is the service's own published example: the repr of a list that holds one JSON
    string in which every text begins with a backslash that JSON does not allow. `dirty` holds
    a NUL and a lone surrogate, which JSON can carry and relational databases can't.
    """
    return _SHAPES[content.shape](content, file_name)


def _json(content: Content, file_name: str) -> str:
    return json.dumps(_segments(content, file_name), ensure_ascii=False)


def _segments(content: Content, file_name: str) -> list[JsonValue]:
    segments = [_filled(segment, file_name) for segment in content.segments]
    if content.size:
        segments.append({"text": _padding(content.size), "speaker_id": 0})
    return segments


def _text(content: Content, file_name: str) -> str:
    text = content.text.replace(FILE_NAME, file_name)
    return text + _padding(content.size - len(text))


def _padding(size: int) -> str:
    return (FILLER * (max(size, 0) // len(FILLER) + 1))[: max(size, 0)]


def _filled(value: JsonValue, file_name: str) -> JsonValue:
    match value:
        case str():
            return value.replace(FILE_NAME, file_name)
        case list():
            return [_filled(item, file_name) for item in value]
        case dict():
            return {key: _filled(item, file_name) for key, item in value.items()}
        case _:
            return value


def _broken(content: Content, file_name: str) -> str:
    return _json(content, file_name).replace('"text": "', '"text": "\\')


_SHAPES: Mapping[Shape, Callable[[Content, str], Json]] = {
    "python_repr": lambda content, name: repr([_json(content, name)]),
    "broken_repr": lambda content, name: repr([_broken(content, name)]),
    "fenced": lambda content, name: f"```json\n{_json(content, name)}\n```",
    "json": _json,
    "list": _segments,
    "text": _text,
    "dirty": lambda content, name: f"before\0after \ud800 {_text(content, name)}",
    "value": lambda content, name: _filled(content.value, name),
    "empty_list": lambda _content, _name: [],
    "empty_text": lambda _content, _name: "",
    "null": lambda _content, _name: None,
}
