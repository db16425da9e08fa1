"""Which files the paths of a user mean: folders stand for what they hold."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import translate
from pathlib import Path
from typing import Literal

from worker.adapters.files.local_files import path_of, source_of
from worker.adapters.files.remote_files import NO_OPTIONS, RemoteFile, RemoteFolder, is_url
from worker.core.addresses import has_secret
from worker.core.source_options import SourceOptions
from worker.errors import SourceAway, SourceRejected

_WINDOW = 100_000
ATTEMPTS = 5
"""How often a user's URL is asked before its place counts as away: a quarter of a minute."""

_Kind = Literal["file", "folder", "link to folder", "unreadable"]


def listing(
    paths: Iterable[str],
    recursive: bool = False,  # noqa: FBT001, FBT002 - the command line's own words
    glob: str | None = None,
    roots: Sequence[str] | None = None,
    options: SourceOptions = NO_OPTIONS,
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
        options: what the drivers of URLs are told.

    Raises:
        SourceAway: a URL's place stayed out of reach, though it was asked several times.
    """
    for path in paths:
        if not is_url(path):
            yield from files_below(path, glob, recursive=recursive)
        elif has_secret(path) or (roots is not None and not is_below(roots, path)):
            yield path
        else:
            yield from _urls_below(path, glob, options, recursive=recursive)


def is_below(roots: Sequence[str], url: str) -> bool:
    """Whether a URL is one that files may come from."""
    return any(RemoteFolder(root).holds(url) for root in roots if is_url(root))


def remote_below(
    url: str,
    glob: str | None,
    options: SourceOptions,
    *,
    recursive: bool,
    attempts: int = 1,
) -> Iterator[RemoteFile]:
    """The files that a URL means; a place that is away is asked `attempts` times.

    Raises:
        SourceRejected: it can't be listed.
        SourceAway: its place is out of reach for the moment.
    """
    fits = _fitting(glob)
    folder = RemoteFolder(url, options, attempts=attempts)
    for found in folder.listing(url, recursive=recursive):
        if found.url == url or fits(found.url.rpartition("/")[2]):
            yield found


def _urls_below(
    url: str, glob: str | None, options: SourceOptions, *, recursive: bool
) -> Iterator[str]:
    try:
        found = remote_below(url, glob, options, recursive=recursive, attempts=ATTEMPTS)
        for each in found:
            yield each.url
    except SourceAway:
        raise
    except SourceRejected:
        yield url


def _fitting(glob: str | None) -> Callable[[str], object]:
    return re.compile(translate(glob)).match if glob else bool


def files_below(path: str, glob: str | None, *, recursive: bool) -> Iterator[str]:
    """The files of this machine that a path means."""
    try:
        local = path_of(path)
        is_folder = local.is_dir()
    except ValueError:
        yield path
        return
    except OSError:  # too long, or in a folder that we may not enter: the upload's look says which
        is_folder = False
    if is_folder:
        yield from _files_in(local, _fitting(glob), recursive=recursive)
    else:
        yield source_of(str(local))


def _files_in(top: Path, fits: Callable[[str], object], *, recursive: bool) -> Iterator[str]:
    """Depth first, each folder's entries by name."""
    pending = [_entries(str(top))]
    while pending:
        for path, kind in pending[-1]:
            if kind == "unreadable" or (kind == "file" and fits(path.rpartition("/")[2])):
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
