"""An opened file, read once and hashed on the way, off the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from anyio import to_thread

from worker.codes import ErrorCode
from worker.core.addresses import bare
from worker.errors import SourceRejected

PIECE = 512 * 1024
"""Bytes read in one go: large enough to make the hop to a thread cheap."""

SMALL = 64 * 1024
"""A file of up to this many bytes is read as it is opened: one hop for the whole file."""


class Readable(Protocol):
    """What is read from: a plain file or a remote one."""

    def read(self, size: int, /) -> bytes | None:
        """At most so many bytes, none at the end."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file open for reading; `size` in bytes as it was when it was opened.

    Attributes:
        meaning: what an exception means that reading it raises.
    """

    name: str
    size: int
    file: Readable
    meaning: Callable[[Exception], SourceRejected] | None = None


class OpenedContent:
    """The bytes of one opened file, once and in order.

    Attributes:
        name: the file's own name.
        size: how many bytes there are to come.
        closed: whether the file was let go of.
    """

    def __init__(self, source: str, opened: OpenedFile) -> None:
        self.name = opened.name
        self.size = opened.size
        self.closed = False
        self._source = source
        self._file = opened.file
        self._meaning = opened.meaning or self._broken_off
        self._read = 0
        self._hash = sha256()
        self._head: bytes | None = None

    @property
    def sha256(self) -> str | None:
        """Hex digest of the whole file; None until all of it was read."""
        return self._hash.hexdigest() if self._read == self.size else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes in pieces; a file that changes while it is read breaks off before its end.

        Raises:
            SourceRejected: changed, unreadable.
        """
        if self._head is not None:
            head, self._head = self._head, None
            yield head
        while self._read < self.size:
            yield await to_thread.run_sync(self._next)

    def read_if_small(self) -> None:
        """Read a small file at once, and let go of it."""
        if self.size <= SMALL:
            self._head = self._next()
            self.close()

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        self.closed = True
        self._file.close()

    def _next(self) -> bytes:
        want = min(PIECE, self.size - self._read)
        try:
            piece = self._fill(want)
            # Looked for before the last piece is handed on, so that no upload gets to its end.
            grown = self._read + want == self.size and self._file.read(1)
        except Exception as error:  # every file system behind fsspec has errors of its own
            raise self._meaning(error) from error
        if len(piece) < want or grown:
            raise SourceRejected(
                f"{shown(self._source)} changed its size while it was read;"
                " hand it in again when it is complete",
                code=ErrorCode.CHANGED,
            )
        self._read += want
        self._hash.update(piece)
        return piece

    def _broken_off(self, error: Exception) -> SourceRejected:
        message = f"{shown(self._source)} broke off while it was read ({error})"
        return SourceRejected(message, code=ErrorCode.UNREADABLE)

    def _fill(self, want: int) -> bytes:
        """Exactly so many bytes, fewer only at the end: a stream brings what it has."""
        parts: list[bytes] = []
        while want > 0 and (part := self._file.read(want)):
            parts.append(part)
            want -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def shown(source: str) -> str:
    """A source as messages show it: valid text, and without the secrets a URL may carry."""
    return bare(source.encode("utf-8", "backslashreplace").decode())


def outside(source: str) -> SourceRejected:
    """Why a source outside the roots is refused."""
    return SourceRejected(
        f"{shown(source)} lies outside the allowed folders and addresses;"
        " move it there, or add its place to INGEST_ROOTS",
        code=ErrorCode.OUTSIDE_ROOTS,
    )
