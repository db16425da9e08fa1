"""Files of this machine: inside the allowed folders, checked on what was really opened.

Plain functions of `os` take the place of `pathlib` where every file passes: they cost a third.
"""

# ruff: noqa: PTH115, PTH116, PTH118 - see above

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote_from_bytes, unquote_to_bytes

from worker.adapters.files.opened_file import OpenedFile, outside, shown
from worker.codes import ErrorCode
from worker.core.addresses import LOCAL_SCHEMES, valid_text
from worker.errors import ConfigurationError, SourceRejected

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW | os.O_NONBLOCK
"""A pipe must not block the caller, and the last part of a resolved path is no link any more."""

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
_NO_FILE = frozenset({errno.EISDIR, errno.ENXIO, errno.ENODEV})


class LocalFolders:
    """The folders of this machine that files may come from."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = tuple(_real_root(root) for root in roots)
        self._below = tuple(f"{root.rstrip('/')}/" for root in self._roots)

    def open(self, source: str, parents: dict[str, str] | None = None) -> OpenedFile:
        """Open a regular file for reading; never blocks on anything else.

        Args:
            source: a path or a `file://` URL.
            parents: where the links in folders' paths lead, to be looked up only once for many
                files; not to be kept, since links change.

        Raises:
            SourceRejected: not_found, not_a_file, unreadable, outside_roots.
        """
        try:
            return self._open(source, {} if parents is None else parents)
        except OSError as error:
            _reject(source, error)
        except ValueError as error:  # a NUL, a lone surrogate, another machine
            message = f"{shown(source)} can't be the path of a file ({type(error).__name__})"
            raise SourceRejected(message, code=ErrorCode.NOT_FOUND) from error

    def _open(self, source: str, parents: dict[str, str]) -> OpenedFile:
        path = path_of(source)
        real = _real_path(path, parents)
        self._require_inside(source, real)
        info = os.lstat(real)
        if stat.S_ISLNK(info.st_mode):
            real = os.path.realpath(real)
            self._require_inside(source, real)
            info = os.stat(real)
        _require_file(source, info)  # a device would notice being opened
        descriptor = os.open(real, _FLAGS)
        try:
            info = os.fstat(descriptor)
            _require_file(source, info)
            self._require_inside(source, _opened_path(descriptor, real))
            return OpenedFile(valid_text(path.name), info.st_size, os.fdopen(descriptor, "rb", 0))
        except BaseException:
            os.close(descriptor)
            raise

    def _require_inside(self, source: str, real: str) -> None:
        if not (real.startswith(self._below) or real in self._roots):
            raise outside(source)


def _real_path(path: Path, parents: dict[str, str]) -> str:
    """The path with the links in its folders resolved, not what its last part may be."""
    folder, name = os.path.split(path)
    if name in {"", ".."}:
        return os.path.realpath(path)
    if folder not in parents:
        parents[folder] = os.path.realpath(folder)
    return os.path.join(parents[folder], name)


def _real_root(root: str) -> str:
    try:
        return os.path.realpath(path_of(root))
    except ValueError as error:
        raise ConfigurationError(f"INGEST_ROOTS: {shown(root)}: {error}") from error


def path_of(source: str) -> Path:
    """The path that a source of this machine names, absolute, its links not resolved.

    Raises:
        ValueError: a `file://` address that names another machine.
    """
    scheme, mark, rest = source.partition("://")
    if not mark or scheme.lower() not in LOCAL_SCHEMES:
        return Path(source).absolute()
    host, slash, path = rest.partition("/")
    if host.lower() not in {"", "localhost"}:
        raise ValueError("a file address of another machine")
    return Path(os.fsdecode(unquote_to_bytes(slash + path))).absolute()


def source_of(path: str) -> str:
    """How a path is written as a source: as it is, or as a URL when it is no valid text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return f"file://{quote_from_bytes(os.fsencode(path))}"
    return path


def _opened_path(descriptor: int, expected: str) -> str:
    """Where the opened file stands, in case a folder was swapped for a link meanwhile."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:  # no /proc here: the path must still lead to what was opened
        again = os.path.realpath(expected)
        same = os.path.samestat(os.fstat(descriptor), os.stat(again))
        return again if same else ""


def _require_file(source: str, info: os.stat_result) -> None:
    if stat.S_ISREG(info.st_mode):
        return
    kind = "a folder" if stat.S_ISDIR(info.st_mode) else "a pipe, socket or device"
    raise SourceRejected(
        f"{shown(source)} is {kind}; only regular files can be ingested", code=ErrorCode.NOT_A_FILE
    )


def _reject(source: str, error: OSError) -> NoReturn:
    words = error.strerror or type(error).__name__
    if error.errno in _GONE:
        message = f"{shown(source)} is not there ({words}); check the path, as this machine sees it"
        raise SourceRejected(message, code=ErrorCode.NOT_FOUND) from error
    if error.errno in _NO_FILE:
        message = f"{shown(source)} is no regular file ({words}); only such can be ingested"
        raise SourceRejected(message, code=ErrorCode.NOT_A_FILE) from error
    message = f"{shown(source)} can't be read ({words}); let the worker's user read it"
    raise SourceRejected(message, code=ErrorCode.UNREADABLE) from error
