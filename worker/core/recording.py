"""Recordings of an exchange with the service: one JSON object a line.

The first line is the head: `{"recording": 1, "made_by": ..., "settings": {...}}`. Every other line
is an event, in the order of things, with `at` (seconds since the beginning), `on` and `do`:

=========  =========================================================================
`on`       `dialog` (the websocket), `upload`, `status`, `bulk` (the HTTP calls)
`do`       `sent`, `received`, `opened` (the handshake's answer), `closed`, `failed`
`json`     what was sent or received, masked; else `text` (its outline) or `bytes` (how many)
`status`   the HTTP status; `headers` those of the reply that tell how it was made
`error`    what failed, in words; `code` and `reason` of a close
=========  =========================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from worker.core.masking import Masker, blank

FORMAT = 1

BULK_PATH = "/openapi/v1/chatflow/get_file_content/"
"""Documented by the vendor for files of the online upload channel: takes `file_ids`, a list.
Whether it knows those of the offline channel is not known; a recording tries it once."""

_HEADERS = frozenset(
    {"content-type", "content-encoding", "transfer-encoding", "retry-after", "server", "location"}
)

Event = Mapping[str, Any]


class NoRecording(ValueError):
    """The text is no recording of a format that is known here."""


def head(made_by: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The first line."""
    return {"recording": FORMAT, "made_by": made_by, "settings": dict(settings)}


def body(raw: bytes | str, masker: Masker) -> dict[str, Any]:
    """What a message or a reply held, masked: as `json`, else as `text`."""
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
    try:
        return {"json": masker.value(json.loads(text))}
    except (ValueError, RecursionError):
        return {"text": blank(text)}


def telling_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The reply's headers that tell how it was made; of the others only that they were there."""
    return {
        name: (value if name != "location" else blank(value)) if name in _HEADERS else "***"
        for name, value in ((name.lower(), value) for name, value in headers)
    }


def as_line(event: Event) -> str:
    """An event as a line of the file."""
    return json.dumps(event, ensure_ascii=True) + "\n"


def read(lines: Iterable[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The head and the events of a recording.

    Raises:
        NoRecording: the lines are none, or of a format that is not known.
    """
    values = list(_values(lines))
    if not values or values[0].get("recording") != FORMAT:
        raise NoRecording(f"its first line is not that of a recording of format {FORMAT}")
    if any("on" not in value or "do" not in value for value in values[1:]):
        raise NoRecording("a line has no `on` or no `do`")
    return values[0], values[1:]


def _values(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise NoRecording(f"line {number} is no JSON") from None
        if not isinstance(value, dict):
            raise NoRecording(f"line {number} is no object")
        yield value
