"""Files that may be ingested, wherever they lie."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from worker.core.model.files import Examined
from worker.core.model.fleet import Leftover, SeenFile
from worker.errors import SourceRejected


class SourceContent(Protocol):
    """An opened file: its bytes once, in order."""

    @property
    def name(self) -> str:
        """The file's own name, without folders."""
        ...

    @property
    def size(self) -> int:
        """Bytes that `chunks` will give."""
        ...

    @property
    def sha256(self) -> str | None:
        """Hex digest of the whole file; None until all of it was read."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, a bounded piece at a time; reading blocks no event loop."""
        ...


class SourceFile(Protocol):
    """A file that was looked at, for one upload."""

    @property
    def name(self) -> str:
        """The file's own name, without folders."""
        ...

    @property
    def size(self) -> int:
        """Its bytes."""
        ...

    @property
    def known_digest(self) -> str | None:
        """Hex digest of what it holds, if it was read already."""
        ...

    async def digest(self) -> str:
        """Hex digest of what it holds, read for it if it has not been read yet.

        Raises:
            SourceRejected: as `Sources.examine`.
        """
        ...

    def open(self) -> AbstractAsyncContextManager[SourceContent]:
        """What it holds, once; a file that has not been read yet is opened again.

        Raises:
            SourceRejected: as `Sources.examine`.
        """
        ...


class Sources(Protocol):
    """Files that may be ingested."""

    def examine(self, source: str) -> Examined:
        """Look at a file without reading it.

        Raises:
            SourceRejected: with one of the codes not_found, not_a_file, unreadable, empty,
                too_large, outside_roots.
        """
        ...

    def look(self, sources: Sequence[str]) -> Sequence[SourceFile | SourceRejected]:
        """Look at many files and read the small ones: each, or why it is refused, in its place."""
        ...

    def open(self, source: str) -> AbstractAsyncContextManager[SourceContent]:
        """Open a file to read it once; the roots are checked again, on what was opened.

        Raises:
            SourceRejected: as `examine`.
        """
        ...


class Listing(Protocol):
    """Looks at folders and files; blocking."""

    def look(
        self, paths: Sequence[str], *, glob: str | None = None, recursive: bool = False
    ) -> Iterable[SeenFile]:
        """Every file with its size and time of change, as it is right now.

        A path that is a file gives itself, whatever the glob; what is not there gives nothing.
        """
        ...


class TakeAway(Protocol):
    """Deletes and moves files; blocking."""

    def take_away(self, leftover: Leftover) -> None:
        """Carry out one rule, on the very file that was uploaded; safe to repeat.

        Raises:
            SourceRejected: it can't be done.
            TryLater: it may go well another time.
        """
        ...
