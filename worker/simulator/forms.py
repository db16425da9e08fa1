"""Multipart forms, parsed as they arrive: fields are kept, file bytes only hashed and counted.

aiohttp's own reader costs about five times as much CPU per upload, which a stand-in that shares
the machine with the program under test can't afford.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from aiohttp import parse_content_disposition

FILE_FIELD = "file"
MAX_HEADERS = 16 * 1024
MAX_FIELD = 4 * 1024 * 1024

_BOUNDARY = re.compile(
    r'multipart/form-data\s*;.*?boundary=(?:"([^"]{1,70})"|([^\s;]{1,70}))', re.IGNORECASE
)


class BadForm(ValueError):
    """The body is no multipart form, or ends early."""


class FormParser:
    """Feed it the body's chunks, then `finish()`.

    Attributes:
        fields: the text fields.
        size: bytes of the file, None when there was no file part.
    """

    def __init__(self, content_type: str) -> None:
        found = _BOUNDARY.match(content_type)
        if found is None:
            raise BadForm("the request is no multipart/form-data with a boundary")
        self._delimiter = b"\r\n--" + (found[1] or found[2]).encode()
        self._rest = b"\r\n"  # so that the first delimiter looks like every other
        self._part: str | None = None
        self._in_headers = False
        self._ended = False
        self._value: list[bytes] = []
        self._kept = 0
        self._sha256 = hashlib.sha256()
        self.fields: dict[str, str] = {}
        self.size: int | None = None

    def feed(self, chunk: bytes) -> None:
        """Take in the next bytes of the body.

        Raises:
            BadForm: they don't make a form.
        """
        self._rest += chunk
        while not self._ended and (self._headers() if self._in_headers else self._body()):
            pass

    def finish(self) -> str | None:
        """The file's SHA-256 in hex, None when there was no file part.

        Raises:
            BadForm: the closing delimiter is missing.
        """
        if not self._ended:
            raise BadForm("the form ends before its closing delimiter")
        return None if self.size is None else self._sha256.hexdigest()

    def _headers(self) -> bool:
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            if len(self._rest) > MAX_HEADERS:
                raise BadForm("a part's headers are too long")
            return False
        self._part = _part_name(self._rest[:end])
        if self._part == FILE_FIELD and self.size is None:
            self.size = 0
        self._rest = self._rest[end + 4 :]
        self._in_headers = False
        return True

    def _body(self) -> bool:
        end = self._rest.find(self._delimiter)
        after = end + len(self._delimiter)
        if end < 0:
            keep = len(self._delimiter) + 1
            self._take(self._rest[:-keep])
            self._rest = self._rest[-keep:]
            return False
        if len(self._rest) < after + 2:
            return False
        self._take(self._rest[:end])
        self._close_part()
        self._ended = self._rest[after : after + 2] == b"--"
        self._in_headers = True
        self._rest = self._rest[after + 2 :]
        return True

    def _take(self, data: bytes) -> None:
        if self._part == FILE_FIELD and self.size is not None:
            self._sha256.update(data)
            self.size += len(data)
        elif self._part is not None and data:
            self._kept += len(data)
            if self._kept > MAX_FIELD:
                raise BadForm("the form's fields are too long")
            self._value.append(data)

    def _close_part(self) -> None:
        if self._part not in {None, FILE_FIELD}:
            self.fields[str(self._part)] = b"".join(self._value).decode(errors="replace")
        self._value.clear()
        self._part = None


@lru_cache(maxsize=128)
def _part_name(headers: bytes) -> str:
    """A part's name. The same few headers come with every upload, so they are parsed once."""
    for line in headers.decode(errors="replace").split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-disposition":
            name = parse_content_disposition(value.strip())[1].get("name")
            if name:
                return name
    raise BadForm("a part has no name")
