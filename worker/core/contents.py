r"""Decoding and cleaning of `parse_content` and `llm_content`.

The service sends what a file holds in many dresses: the Python repr of a list that holds a JSON
string with broken escapes (the reference's own example), JSON in a Markdown fence, plain JSON, a
real list, plain text. What can't be read for certain stays text. Everything here takes linear
time and survives hostile nesting: contents can be megabytes, and come from outside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from worker.core.json_size import holds_too_much
from worker.core.model.wire import Contents

_DEEPEST = 100
"""Nesting beyond this is no transcript; such contents stay text."""
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
_FENCE = re.compile(r"\s*```[a-zA-Z0-9_-]*[ \t]*\r?\n?")
_LONG_NUMBER = re.compile("[0-9]{20}")
_EMPTY = frozenset({"", "[]", "{}", "null", "none", '""', "''"}) | frozenset(
    {"['']", '[""]', "['[]']", '["[]"]', "[null]", "[none]"}
)


def is_empty(parse_content: Any) -> bool:
    """Whether a `parse_content` brings nothing, however the service spells nothing."""
    if isinstance(parse_content, list):
        return all(_is_nothing(item) for item in parse_content)
    return _is_nothing(parse_content)


def _is_nothing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _EMPTY
    return value is None or value in ([], {})


def decode_contents(parse_content: Any, llm_content: Any) -> Contents:
    """Turn the raw JSON values of a status reply into what any database can keep.

    Never raises, whatever the service sent.
    """
    cleaner = _Cleaner()
    segments = cleaner.value(_decode(parse_content))
    return Contents(
        parse_text=cleaner.as_text(parse_content),
        segments=segments,
        llm_text=cleaner.as_text(llm_content),
        sanitized=cleaner.replaced,
    )


def clean_text(text: str) -> str:
    """The text with U+FFFD for what neither a database nor UTF-8 can hold."""
    return _NOT_STORABLE.sub("\ufffd", text)


# --- cleaning ------------------------------------------------------------------------------------


class _TooDeep(Exception):
    """The value nests deeper than any transcript does."""


class _Cleaner:
    """Replaces what no database holds, and remembers whether it had to."""

    def __init__(self) -> None:
        self.replaced = False

    def text(self, text: str) -> str:
        cleaned = text if text.isascii() and "\x00" not in text else clean_text(text)
        self.replaced = self.replaced or cleaned != text
        return cleaned

    def as_text(self, content: Any) -> str | None:
        """A content as the text column keeps it: as sent, or as JSON text."""
        if content is None:
            return None
        if isinstance(content, str):
            return self.text(content)
        try:
            return json.dumps(self._walk(content, 0), ensure_ascii=False)
        except _TooDeep:
            return "(nested too deeply)"

    def value(self, value: Any) -> Any:
        """A JSON value with clean texts and numbers that every JSON column takes."""
        try:
            return self._walk(value, 0)
        except _TooDeep:
            return None

    def _walk(self, value: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            raise _TooDeep
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(k): self._walk(item, depth + 1) for k, item in value.items()}
            case list():
                return [self._walk(item, depth + 1) for item in value]
            case float():
                return value if value - value == 0 else None  # NaN and the infinities are no JSON
            case int() if not isinstance(value, bool):
                return value if -(2**63) <= value < 2**63 else str(value)
            case _:
                return value


# --- decoding ------------------------------------------------------------------------------------


def _decode(content: Any) -> Any:
    """The JSON value of a content, None when there is none."""
    value = _decode_text(content) if isinstance(content, str) else content
    if isinstance(value, list):
        return _flatten(value)
    return value if isinstance(value, dict) else None


def _flatten(items: list[Any]) -> list[Any]:
    """One list out of a list of JSON texts; any other list stays what it is."""
    if not items or not all(isinstance(item, str) for item in items):
        return items
    flat: list[Any] = []
    for text in items:
        value = _decode_text(text)
        if value is None and text.strip():
            return items
        flat.extend(value if isinstance(value, list) else [] if value is None else [value])
    return flat


def _decode_text(text: str) -> list[Any] | dict[str, Any] | None:
    """Read a text as a JSON list or object; None when it is neither, or too much of it."""
    inner = _without_fence(text)
    if not inner.startswith(("[", "{", "(", '"')) or holds_too_much(inner):
        return None
    for read in (_read_json, _read_repr, _read_broken_repr, _read_repaired):
        value = read(inner)
        if isinstance(value, str):  # JSON within a JSON string
            value = _read_json(value.strip())
        if isinstance(value, list | dict):
            return value
    return None


def _without_fence(text: str) -> str:
    start = _FENCE.match(text)
    if start is None:
        return text.strip()
    return text[start.end() :].rstrip().removesuffix("```").strip()


def _read_json(text: str) -> Any:
    """Strict JSON first, quickly; then with raw control characters and lone surrogates.

    Numbers beyond 64 bits, which the quick parser rounds, are left to the second one too.
    """
    try:
        if _LONG_NUMBER.search(text) is None:
            return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text, strict=False, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt]|)')


def _read_repaired(text: str) -> Any:
    """JSON in which some backslashes begin no JSON escape: those stand for themselves."""
    return _read_json(_ESCAPE.sub(lambda found: found[0] if found[1] else "\\\\", text))


# A Python repr is read token by token and written down again as JSON: no evaluation, no
# recursion, and possessive quantifiers so that nothing is ever tried twice.
_TOKEN = re.compile(
    r"""\s*+(?:
        (?P<text>'[^'\\]*+(?:\\.[^'\\]*+)*+'|"[^"\\]*+(?:\\.[^"\\]*+)*+")
      | (?P<word>True|False|None)\b
      | (?P<number>-?\d[\w.+-]*+)
      | (?P<mark>[\[\](){},:])
    )\s*+""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = {"True": "true", "False": "false", "None": "null"}
_MARKS = {"(": "[", ")": "]"}


def _read_repr(text: str) -> Any:
    try:
        return _read_json("".join(_as_json(text)))
    except _NoRepr:
        return None


class _NoRepr(Exception):
    """The text is not the repr of lists, dicts, texts and numbers."""


def _as_json(text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise _NoRepr
        place = token.end()
        yield _token_as_json(token)


def _token_as_json(token: re.Match[str]) -> str:
    match token.lastgroup:
        case "text":
            return json.dumps(_literal(token["text"][1:-1]))
        case "word":
            return _WORDS[token["word"]]
        case "number":
            return token["number"]
        case _:
            return _MARKS.get(token["mark"], token["mark"])


_PYTHON_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}


def _literal(body: str) -> str:
    """The text that a Python literal stands for.

    The service's literals have lost escapes on the way. When what they stand for is no JSON
    but their own characters are, those are taken.
    """
    value = _PYTHON_ESCAPE.sub(_unescape, body)
    if "\\" not in body or not body.lstrip().startswith(("[", "{")):
        return value
    if _read_json(value) is None and _read_repaired(value) is None:
        return body
    return value


def _unescape(escape: re.Match[str]) -> str:
    number = escape[1] or escape[2] or escape[3]
    if number is not None:
        code = int(number, 16)
        return chr(code) if code <= 0x10FFFF else escape[0]
    character = escape[4]
    if character in "\\'\"":
        return character
    return _SIMPLE.get(character, escape[0])


def _read_broken_repr(text: str) -> Any:
    """A repr of one text whose own quotes were not escaped: `['[{"text": "it's"}]']`."""
    inner = re.fullmatch(r"\[\s*+(['\"])\s*+([\[{].*[\]}])\s*\1\s*\]", text, re.DOTALL)
    return None if inner is None else _read_repaired(inner[2])
