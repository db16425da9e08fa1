"""Where files come from: folders of this machine and URL prefixes, and nowhere else."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from fnmatch import translate
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
from anyio import to_thread

from worker.adapters.content import Opened, OpenedContent, outside, shown
from worker.adapters.local_files import LocalFolders, path_of, source_of
from worker.adapters.remote_files import RemoteFolder, is_url
from worker.core.model import Examined
from worker.errors import SourceRejected

_WINDOW = 100_000


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A file that was looked at: see `worker.ports.SourceFile`."""

    name: str
    size: int
    open: Callable[[], AbstractAsyncContextManager[OpenedContent]]


_Kind = Literal["file", "folder", "link to folder", "unreadable"]


class FileSources:
    """Files that may be ingested: see `worker.ports.Sources`.

    A source is a path, a `file://` URL, or a URL that fsspec has a driver for.

    Args:
        roots: folders and URL prefixes that files may come from; a link that leads out of a
            folder is refused, a redirect that leads out of a prefix is not followed.
        max_bytes: the largest file that is taken.
    """

    def __init__(self, roots: Sequence[str], max_bytes: int) -> None:
        self._folders = LocalFolders([root for root in roots if not is_url(root)])
        self._remote = [RemoteFolder(root) for root in roots if is_url(root)]
        self._max_bytes = max_bytes

    def examine(self, source: str) -> Examined:
        """Look at a file without reading it.

        Raises:
            SourceRejected: not_found, not_a_file, unreadable, empty, too_large, outside_roots.
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
        """Look at many files; small ones of this machine are read, and need not be opened again."""
        parents: dict[str, str] = {}
        return [self._looked_at(source, parents) for source in sources]

    def _looked_at(self, source: str, parents: dict[str, str]) -> LookedAt | SourceRejected:
        again = partial(self.open, source)
        try:
            if is_url(source):
                found = self.examine(source)
                return LookedAt(found.name, found.size, again)
            content = self._taken(source, self._folders.open(source, parents))
        except SourceRejected as error:
            return error
        if content.closed:
            return LookedAt(content.name, content.size, lambda: nullcontext(content))
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

    def _taken(self, source: str, opened: Opened) -> OpenedContent:
        content = OpenedContent(source, opened)
        try:
            self._require_size(source, content.size)
            content.read_if_small()
        except BaseException:
            content.close()
            raise
        return content

    def _remote_of(self, url: str) -> RemoteFolder:
        for folder in self._remote:
            if folder.holds(url):
                return folder
        raise outside(url)

    def _require_size(self, source: str, size: int) -> None:
        if size == 0:
            message = f"{shown(source)} is empty; hand it in again when it has been written"
            raise SourceRejected(message, code="empty")
        if size > self._max_bytes:
            raise SourceRejected(
                f"{shown(source)} has {size} bytes, more than the {self._max_bytes} allowed;"
                " split it, or raise INGEST_MAX_FILE_BYTES",
                code="too_large",
            )


def listing(
    paths: Iterable[str],
    recursive: bool = False,  # noqa: FBT001, FBT002 - the command line's own words
    glob: str | None = None,
    roots: Sequence[str] | None = None,
) -> Iterator[str]:
    """Every file that the paths mean, lazily: a folder stands for its files, in order.

    Paths become absolute, links stay as they are. What is not there, or can't be listed, is
    passed on, to be rejected with its reason. In a folder everything that is no folder counts,
    hidden files too; links to folders are not followed.

    Args:
        paths: files, folders, URLs.
        recursive: whether the folders in a folder are listed too.
        glob: pattern for the names of files in folders; what is named itself always counts.
        roots: no URL outside of these is asked what it holds; None asks any.
    """
    fits: Callable[[str], object] = re.compile(translate(glob)).match if glob else bool
    for path in paths:
        if is_url(path) and roots is not None and not is_below(roots, path):
            yield path
        else:
            yield from _expanded(path, fits, recursive=recursive)


def is_below(roots: Sequence[str], url: str) -> bool:
    """Whether a URL is one that files may come from."""
    return any(RemoteFolder(root).holds(url) for root in roots if is_url(root))


def _expanded(path: str, fits: Callable[[str], object], *, recursive: bool) -> Iterator[str]:
    if is_url(path):
        yield from _files_at(path, fits, recursive=recursive)
        return
    try:
        local = path_of(path)
        is_folder = local.is_dir()
    except ValueError:
        yield path
        return
    except OSError:  # too long, or in a folder that we may not enter: the upload's look says which
        is_folder = False
    if is_folder:
        yield from _files_in(local, fits, recursive=recursive)
    else:
        yield source_of(str(local))


def _files_at(url: str, fits: Callable[[str], object], *, recursive: bool) -> Iterator[str]:
    try:
        for found in RemoteFolder(url).listing(url, recursive=recursive):
            if found == url or fits(found.rpartition("/")[2]):
                yield found
    except SourceRejected:
        yield url


def _files_in(top: Path, fits: Callable[[str], object], *, recursive: bool) -> Iterator[str]:
    """Depth first, each folder's entries by name."""
    pending = [_entries(str(top))]
    while pending:
        for path, kind in pending[-1]:
            if kind == "unreadable" or (kind == "file" and fits(Path(path).name)):
                yield source_of(path)
            elif kind == "folder" and recursive:
                pending.append(_entries(path))
                break
        else:
            pending.pop()


def _entries(folder: str) -> Iterator[tuple[str, _Kind]]:
    """A folder's entries by name; the folder itself when it can't be looked into.

    They are sorted in windows, so that a folder of a million files takes little memory; each
    window costs another look through the folder.
    """
    last = ""
    while True:
        try:
            with os.scandir(folder) as entries:
                later = ((entry.name, _kind(entry)) for entry in entries if entry.name > last)
                window = heapq.nsmallest(_WINDOW, later)
        except OSError:
            yield folder, "unreadable"
            return
        for name, kind in window:
            yield f"{folder.rstrip('/')}/{name}", kind
        if len(window) < _WINDOW:
            return
        last = window[-1][0]


def _kind(entry: os.DirEntry[str]) -> _Kind:
    try:
        if not entry.is_dir():
            return "file"
        return "link to folder" if entry.is_symlink() else "folder"
    except OSError:
        return "file"
