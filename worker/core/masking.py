"""What may be shown of an exchange with the service: its order, its types, and nobody's words.

A recording is meant to be sent to others. Credentials, contents, names and prompts are masked;
what tells how the service behaves (codes, types, indexes, ids, formats, models, the service's own
messages, fields that nobody has described) is kept.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from worker.core.contents import decode_contents, is_empty
from worker.core.model.wire import Credentials
from worker.core.redaction import redactor

MASKED = "***"
LONGEST = 4000
"""Characters of a masked text that are kept; the rest is only counted."""

_CREDENTIALS = frozenset({"cybertron_robot_key", "cybertron_robot_token", "username"})
_CONTENTS = frozenset({"parse_content", "llm_content", "inputs"})
_NAMES = frozenset({"name", "file_name", "flow_name", "node_title"})
_MESSAGES = frozenset({"message", "msg", "error_msg", "error", "reason"})
_PLAIN = frozenset(
    {
        "code", "type", "finish", "index", "status", "mode", "language", "flow_stage",
        "content_type", "node_type", "support_formats", "file_format", "parse_model",
        "variable_assign", "extra_params", "message_source", "open_flow_trigger", "segment_code",
    }
)  # fmt: skip
_IDENTIFIER = re.compile(r"[0-9A-Fa-f_-]*")
_KEY = re.compile(r"[a-z][A-Za-z0-9_-]{0,40}")
_SYSTEM_WORDS = re.compile(
    r"(flow_enter|flow_jump(?:::)?|node_waiting_input|jump_flow_uuid:[0-9A-Fa-f-]*|系统异常\("
    r"|涉及到风险)"
)
"""Marks in spoken text that steer the conversation."""


class Masker:
    """Masks one exchange; the same name becomes the same stand-in throughout.

    Args:
        credentials: looked for in whatever is kept.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._redact = redactor(credentials)
        self._names: dict[str, str] = {}

    def value(self, value: Any, key: str = "") -> Any:
        """A JSON value with the same structure and types; `key` is the field it stands in."""
        name = key.replace("-", "_").lower()
        if name in _CREDENTIALS:
            return None if value is None else MASKED
        if name in _CONTENTS:
            return self.contents(value)
        match value:
            case dict():
                return {self._key(k): self.value(item, k) for k, item in value.items()}
            case list():
                return [self.value(item, key) for item in value]
            case str():
                return self._text(value, name)
            case _:
                return value

    def contents(self, value: Any) -> Any:
        """Contents with their structure: letters become x, digits 0, the wrapping stays."""
        if is_empty(value):
            return value
        match value:
            case str():
                return self._wrapped(value)
            case list():
                return [self.contents(item) for item in value]
            case dict():
                return {self._key(key): self.contents(item) for key, item in value.items()}
            case bool() | None:
                return value
            case int() | float():
                return type(value)(0)
            case _:
                return value

    def words(self, text: str) -> str:
        """A message of the service without credentials and without names that came before."""
        for name, stand_in in sorted(self._names.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(name, stand_in)
        return self._redact(text)

    def _text(self, text: str, key: str) -> str:
        if not text:
            return text
        if key in _NAMES:
            return self._stand_in(text)
        if key in _MESSAGES:
            return self.words(text)
        is_id = key.endswith(("id", "uuid", "code", "timestamp")) and _IDENTIFIER.fullmatch(text)
        if key in _PLAIN or is_id:
            return self._redact(text)
        return blank(text)

    def _stand_in(self, name: str) -> str:
        if name not in self._names:
            _, dot, ending = name.rpartition(".")
            suffix = f".{ending}" if dot and re.fullmatch(r"[A-Za-z0-9]{1,8}", ending) else ""
            self._names[name] = f"name-{len(self._names) + 1}{suffix}"
        return self._names[name]

    def _key(self, key: str) -> str:
        """A field's name, unless it looks like somebody's data."""
        return self._redact(key) if _KEY.fullmatch(key) else blank(key)

    def _wrapped(self, text: str) -> str:
        segments = decode_contents(text, None).segments
        if segments is None:
            return blank(text)
        bare = json.dumps(self.contents(segments), ensure_ascii=False)
        stripped = text.strip()
        if stripped.startswith("```"):
            return f"```json\n{bare}\n```"
        if _is_json(stripped):
            return bare
        if _holds_json(stripped):
            return repr([bare])
        return repr([bare.replace("\\\\", "").replace('": "', '": "\\')])


def blank(text: str) -> str:
    """A text's outline: letters become x, digits 0; marks that steer a dialog stay."""
    parts = _SYSTEM_WORDS.split(text[:LONGEST])
    outline = "".join(part if place % 2 else _outline(part) for place, part in enumerate(parts))
    left = len(text) - LONGEST
    return outline if left <= 0 else f"{outline}… and {left} characters more"


def _outline(text: str) -> str:
    return "".join(("0" if c.isdigit() else "x") if c.isalnum() else c for c in text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _holds_json(text: str) -> bool:
    """Whether a Python list's first text is sound JSON, not JSON with escapes of its own."""
    try:
        items = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    return isinstance(items, list) and all(isinstance(i, str) and _is_json(i) for i in items)
