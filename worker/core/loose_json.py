"""JSON as the service sends it: loosely typed, large numbers and stray surrogates included."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import orjson

_Built = TypeVar("_Built")


class MalformedReply(ValueError):
    """What arrived is not the JSON the protocol speaks of. Never quotes it: it may be private."""


_EXACT = 2**53
"""Below this a float that is a whole number stands for one integer only."""


class _Rounded(ValueError):
    """A number that the quick parser may have rounded."""


def parse_json(raw: bytes | str, build: Callable[[Any], _Built]) -> _Built:
    """Build a message of JSON text; the slow parser steps in where the quick one falls short.

    orjson refuses lone surrogates, which the service is known to send, and rounds integers
    beyond 64 bits.
    """
    with suppress(orjson.JSONDecodeError, _Rounded):
        return build(_unrounded(orjson.loads(raw)))
    # Past the handlers, so that no parser's error, which holds the whole text, hangs on ours.
    return build(_load_slowly(raw))


def _unrounded(payload: Any) -> Any:
    """Notice a number that was rounded in a message's own fields, or in those of its `data`."""
    message = mapping_of(payload)
    for fields in (message, mapping_of(message.get("data"))):
        for value in fields.values():
            if type(value) is float and abs(value) >= _EXACT:
                raise _Rounded
    return payload


def _load_slowly(raw: bytes | str) -> Any:
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        return json.loads(text.lstrip("\ufeff"), parse_int=_integer)
    raise MalformedReply(f"the service sent {len(raw)} bytes that are not JSON")


def _integer(digits: str) -> int | str:
    """An integer, as text where it has more digits than Python converts."""
    try:
        return int(digits)
    except ValueError:
        return digits


def text_of(value: Any) -> str:
    """A scalar as text; "" for what is missing or has no text of its own."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
    return str(int(value)) if whole else str(value)


def number_of(value: Any) -> int | None:
    """An integer that may have been sent as text; None beyond what a database holds."""
    text = text_of(value).strip()
    if len(text) > 20 or not re.fullmatch(r"[+-]?[0-9]+", text):
        return None
    number = int(text)
    return number if abs(number) < 2**63 else None


def mapping_of(value: Any) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def entries_of(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a list; none for anything else."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def malformed(what: str) -> NoReturn:
    """Say what was sent instead; never quotes it.

    Raises:
        MalformedReply: always.
    """
    raise MalformedReply(f"the service sent {what}")
