"""What an HTTP error says in words: the service's own, or those of what stands in front of it.

A proxy, a firewall or a web server answers with a page, a line of text or a JSON of its own; its
first words are often all that tells an operator where to look.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from html.parser import HTMLParser
from typing import Any

from worker.core.contents import clean_text
from worker.core.loose_json import MalformedReply, text_of
from worker.core.messages import EnvelopeError, parse_envelope

LONGEST = 200
"""Characters of a page or a text that are told."""

_LOOKED_AT = 16 * 1024
"""Bytes of a body that are looked at: words far behind its beginning are none about the error,
and the library's parser of pages takes quadratic time for broken ones."""

_UNSHOWN = frozenset({"script", "style", "template", "noscript", "svg"})
_WORDS = ("message", "msg", "error_msg", "detail", "error_description", "error", "title")
"""Fields in which services and gateways say what is wrong, the likeliest first."""

_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def words_of(body: bytes, redact: Callable[[str], str]) -> str:
    """The words of an HTTP error's body, in one bounded line; "" when it has none.

    Of an envelope with an error code these are its code and message, of a page what a browser
    would show first. An envelope of success is no word about the error, and binary is none at all.

    Args:
        body: as it came, or its beginning.
        redact: takes credentials out, before anything is cut.
    """
    with suppress(MalformedReply):
        envelope = parse_envelope(body)
        return error_words(envelope, redact) if isinstance(envelope, EnvelopeError) else ""
    text = redact(_in_a_line(_text(body)))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"


def http_words(status: int, body: bytes, redact: Callable[[str], str]) -> str:
    """`HTTP 413: the file is too large`: the status, and the words that came with it, if any."""
    said = words_of(body, redact)
    return f"HTTP {status}: {said}" if said else f"HTTP {status}"


def error_words(error: EnvelopeError, redact: Callable[[str], str]) -> str:
    """An envelope's code and message, as they may be shown and stored."""
    return clean_text(redact(f"{error.code} {error.message}".strip()))


def _in_a_line(text: str) -> str:
    return clean_text(_BLANK.sub(" ", text).strip())


def _text(body: bytes) -> str:
    head = body[:_LOOKED_AT]
    text = head.decode("utf-8", "replace").removeprefix("\ufeff").strip()
    if "\x00" in text or text.count("\ufffd") > len(text) // 10:
        return ""
    if len(head) < len(body):  # half a word may be half a credential, which nothing would redact
        text = text[: -len(text.split()[-1])] if text else ""
    if text.startswith("<"):
        return _shown(text)
    if text.startswith(("{", "[")):
        return _said(text)
    return text


def _shown(page: str) -> str:
    parser = _Words()
    parser.feed(page)
    parser.close()
    return " ".join(parser.shown)


class _Words(HTMLParser):
    """Collects what a browser would show; a heading that repeats the title is told once."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.shown: list[str] = []
        self._unshown = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - HTMLParser hands it in
        self._unshown += tag in _UNSHOWN

    def handle_endtag(self, tag: str) -> None:
        self._unshown -= tag in _UNSHOWN and self._unshown > 0

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if words and not self._unshown and words not in self.shown:
            self.shown.append(words)


def _said(text: str) -> str:
    """The words of a JSON that is no envelope; all of its values where no field is known."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, dict):
        for name in _WORDS:
            said = value.get(name)
            words = _said_in(said) if isinstance(said, dict) else text_of(said)
            if words:
                return words
    return ", ".join(_leaves(value, 6))


def _said_in(inner: dict[str, Any]) -> str:
    return next((words for name in _WORDS if (words := text_of(inner.get(name)))), "")


def _leaves(value: object, depth: int, name: str = "") -> Iterator[str]:
    """Decoded, for a credential behind an escape would not be found."""
    if isinstance(value, dict) and depth:
        for key, each in value.items():
            yield from _leaves(each, depth - 1, str(key))
    elif isinstance(value, list) and depth:
        for each in value:
            yield from _leaves(each, depth - 1, name)
    elif words := text_of(value):
        yield f"{name} {words}".strip()
