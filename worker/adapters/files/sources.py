"""Where files come from: folders of this machine and URL prefixes, and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import anyio
from anyio import to_thread

from worker.adapters.files.drivers import require_drivers
from worker.adapters.files.local_files import LocalFolders
from worker.adapters.files.opened_file import OpenedContent, OpenedFile, outside, shown
from worker.adapters.files.remote_files import NO_OPTIONS, RemoteFolder, is_url, refuse_secrets
from worker.codes import ErrorCode
from worker.core.model.files import Examined
from worker.core.source_options import SourceOptions
from worker.errors import SourceAway, SourceRejected

LOOKERS = 8
"""URLs that are asked at the same time."""


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A file that was looked at: see `ports.sources.SourceFile`."""

    name: str
    size: int
    open: Callable[[], AbstractAsyncContextManager[OpenedContent]]
    known_digest: str | None = None

    async def digest(self) -> str:
        """Hex digest of what it holds; a file that was not read yet is read for it."""
        if self.known_digest is not None:
            return self.known_digest
        async with self.open() as content:
            async for _ in content.chunks():
                pass
            return content.sha256 or ""


class FileSources:
    """Files that may be ingested: see `ports.sources.Sources`.

    A source is a path, a `file://` URL, or a URL that fsspec has a driver for.

    Args:
        roots: folders and URL prefixes that files may come from; a link that leads out of a
            folder is refused, a redirect that leads out of a prefix is not followed.
        max_bytes: the largest file that is taken.
        options: what the drivers of URLs are told.

    Raises:
        ConfigurationError: the driver of a root is not installed.
    """

    def __init__(
        self, roots: Sequence[str], max_bytes: int, options: SourceOptions = NO_OPTIONS
    ) -> None:
        require_drivers(roots)
        self._folders = LocalFolders([root for root in roots if not is_url(root)])
        self._remote = [RemoteFolder(root, options) for root in roots if is_url(root)]
        self._max_bytes = max_bytes

    def examine(self, source: str) -> Examined:
        """Look at a file without reading it.

        Raises:
            SourceRejected: not_found, not_a_file, unreadable, empty, too_large, outside_roots,
                password_in_address.
            SourceAway: its place is out of reach for the moment.
        """
        if is_url(source):
            name, size = self._remote_of(source).look(source)
        else:
            opened = self._folders.open(source)
            opened.file.close()
            name, size = opened.name, opened.size
        self._require_size(source, size)
        return Examined(name, size)

    def look(self, sources: Sequence[str]) -> list[LookedAt | SourceRejected]:
        """Look at many files; small ones of this machine are read, and need not be opened again.

        URLs are asked side by side, and a place that is away for one of them is away for all.
        """
        parents: dict[str, str] = {}
        afar = self._looked_afar([source for source in sources if is_url(source)])
        return [next(afar) if is_url(s) else self._looked_at(s, parents) for s in sources]

    def _looked_afar(self, urls: Sequence[str]) -> Iterator[LookedAt | SourceRejected]:
        if not urls:
            return
        away: set[RemoteFolder] = set()
        with ThreadPoolExecutor(LOOKERS) as pool:
            yield from pool.map(lambda url: self._looked_at_url(url, away), urls)

    def _looked_at_url(self, url: str, away: set[RemoteFolder]) -> LookedAt | SourceRejected:
        try:
            folder = self._remote_of(url)
            if folder in away:
                message = f"{shown(url)} can't be read: its place is away"
                return SourceAway(message, code=ErrorCode.UNREADABLE)
            try:
                found = self.examine(url)
            except SourceAway:
                away.add(folder)
                raise
        except SourceRejected as error:
            return error
        return LookedAt(found.name, found.size, partial(self.open, url))

    def _looked_at(self, source: str, parents: dict[str, str]) -> LookedAt | SourceRejected:
        again = partial(self.open, source)
        try:
            content = self._taken(source, self._folders.open(source, parents))
        except SourceRejected as error:
            return error
        if content.closed:
            return LookedAt(
                content.name, content.size, lambda: nullcontext(content), content.sha256
            )
        content.close()
        return LookedAt(content.name, content.size, again)

    @asynccontextmanager
    async def open(self, source: str) -> AsyncIterator[OpenedContent]:
        """Open a file to read it once; a small one is read here and now.

        Raises:
            SourceRejected: as `examine`, and `changed` when its size changes while it is read.
        """
        content = await to_thread.run_sync(self._open, source)
        try:
            yield content
        finally:
            if not content.closed:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(content.close)

    def _open(self, source: str) -> OpenedContent:
        opener = self._remote_of(source) if is_url(source) else self._folders
        return self._taken(source, opener.open(source))

    def _taken(self, source: str, opened: OpenedFile) -> OpenedContent:
        content = OpenedContent(source, opened)
        try:
            self._require_size(source, content.size)
            content.read_if_small()
        except BaseException:
            content.close()
            raise
        return content

    def _remote_of(self, url: str) -> RemoteFolder:
        refuse_secrets(url)
        for folder in self._remote:
            if folder.holds(url):
                return folder
        raise outside(url)

    def _require_size(self, source: str, size: int) -> None:
        if size == 0:
            message = f"{shown(source)} is empty; hand it in again when it has been written"
            raise SourceRejected(message, code=ErrorCode.EMPTY)
        if size > self._max_bytes:
            raise SourceRejected(
                f"{shown(source)} has {size} bytes, more than the {self._max_bytes} allowed;"
                " split it, or raise INGEST_MAX_FILE_BYTES",
                code=ErrorCode.TOO_LARGE,
            )
