"""Files at URLs, through fsspec: only below an allowed prefix, redirects included."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from worker.adapters.content import Opened, name_of, outside, shown
from worker.adapters.local_files import LOCAL_SCHEMES
from worker.errors import SourceRejected

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PORTS = {"http": 80, "https": 443}
_GONE = frozenset({404, 410})
_CONNECT_TIMEOUT, _READ_TIMEOUT = 20.0, 60.0


def is_url(source: str) -> bool:
    """Whether a source is a URL of another place than this machine's files."""
    return bool(_URL.match(source)) and scheme_of(source) not in LOCAL_SCHEMES


def scheme_of(url: str) -> str:
    """What stands before `://`, in lower case."""
    return url.partition("://")[0].lower()


class RemoteFolder:
    """One URL prefix that files may come from."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._scheme = scheme_of(root)
        self._parts = _parts(root)

    def __repr__(self) -> str:
        # Part of the name under which fsspec keeps its connections: the same root, the same ones.
        return f"RemoteFolder({shown(self._root)!r})"

    def holds(self, url: str) -> bool:
        """Whether the URL lies below the prefix, whose end is the end of a path's part."""
        parts = _parts(url)
        return parts is not None and parts[: len(self._parts or ())] == self._parts

    def open(self, url: str) -> Opened:
        """Open a file as a stream.

        Raises:
            SourceRejected: not_found, not_a_file, unreadable, outside_roots.
        """
        name, size = self.look(url)
        return Opened(name, size, self._asked(url, self._stream, size))

    def look(self, url: str) -> tuple[str, int]:
        """A file's name and size.

        Raises:
            SourceRejected: not_found, not_a_file, unreadable, outside_roots.
        """
        if not self.holds(url):
            raise outside(url)
        name = _name(url)
        info = self._asked(url, self._info) if name else {"type": "directory"}
        if info.get("type") == "directory":
            message = f"{shown(url)} is a folder; only files can be ingested"
            raise SourceRejected(message, code="not_a_file")
        if info.get("size") is None:
            message = f"{shown(url)}: its server does not tell the size; copy the file to a folder"
            raise SourceRejected(message, code="unreadable")
        return name_of(name), int(info["size"])

    def stamp(self, url: str) -> int:
        """A number that stays while nothing that is told of the file (times, tags) changes.

        Raises:
            SourceRejected: not_found, unreadable.
        """
        told = repr(sorted(self._asked(url, self._info).items(), key=repr))
        return int.from_bytes(sha256(told.encode()).digest()[:7])

    def listing(self, url: str, *, recursive: bool) -> Iterator[str]:
        """The files below a folder, each folder's in order; the URL itself when it is no folder.

        Raises:
            SourceRejected: the place can't be listed.
        """
        if self._asked(url, self._is_folder):
            yield from self._below(url, self._path(url), recursive=recursive)
        else:
            yield url

    def _below(self, url: str, folder: str, *, recursive: bool) -> Iterator[str]:
        entries = self._asked(url, lambda _: self._system().ls(folder, detail=True))
        for entry in sorted(entries, key=lambda entry: str(entry["name"])):
            address = str(self._system().unstrip_protocol(entry["name"]))
            if not self.holds(address) or _parts(address) == _parts(url):
                continue  # a link to elsewhere, or the folder's own mark
            if entry["type"] != "directory":
                yield address
            elif recursive:
                yield from self._below(address, entry["name"], recursive=True)

    def _asked(self, url: str, question: Callable[..., Any], *args: object) -> Any:
        try:
            return question(url, *args)
        except Exception as error:  # every file system behind fsspec has errors of its own
            raise self._rejection(url, error) from error

    def _info(self, url: str) -> Any:
        return self._system().info(self._path(url))

    def _is_folder(self, url: str) -> Any:
        if self._scheme in _PORTS:  # looking for links in what may be a file would fetch it all
            return urlsplit(url).path.endswith("/")
        return self._system().isdir(self._path(url))

    def _stream(self, url: str, size: int) -> Any:
        if self._scheme in _PORTS:  # one plain GET instead of many for ranges
            return self._system().open(url, "rb", block_size=0, size=size)
        return self._system().open(self._path(url), "rb")

    def _path(self, url: str) -> str:
        if self._scheme in _PORTS:
            return url
        plain = f"{self._scheme}://{url.partition('://')[2]}"
        return str(self._system()._strip_protocol(plain))

    def _system(self) -> Any:
        """Fsspec keeps one of each per process and settings, and makes another after a fork."""
        options: dict[str, Any] = {"use_listings_cache": False}
        if self._scheme in _PORTS:
            options["get_client"] = self._client
        return fsspec.filesystem(self._scheme, **options)

    async def _client(self, **options: Any) -> Any:
        """The HTTP session that fsspec talks through."""
        from aiohttp import ClientSession, ClientTimeout  # what fsspec itself uses for http

        timeout = ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=_READ_TIMEOUT)
        return ClientSession(timeout=timeout, middlewares=(self._stay_below,), **options)

    async def _stay_below(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Before each request, those that follow a redirect included."""
        if not self.holds(str(request.url)):
            raise outside(str(request.url))
        return await handler(request)

    def _rejection(self, url: str, error: Exception) -> SourceRejected:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, SourceRejected):
                return cause
        statuses = {getattr(cause, "status", None) for cause in causes} - {None}
        if isinstance(error, FileNotFoundError) and (
            statuses & _GONE or self._scheme not in _PORTS
        ):
            message = f"{shown(url)} is not there; check the address"
            return SourceRejected(message, code="not_found")
        # fsspec calls every failed look at an http address "not found": its cause knows better.
        why = shown(_words(causes[1] if self._scheme in _PORTS and causes[1:] else error))
        message = f"{shown(url)} can't be read ({why}); check access, and that its driver is there"
        return SourceRejected(message, code="unreadable")


def _name(url: str) -> str:
    """The last part of the URL's path, "" for a folder."""
    if scheme_of(url) not in _PORTS:
        return url.rpartition("/")[2]
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _parts(url: str) -> tuple[str, ...] | None:
    """Scheme, host and path, part by part; None for a URL that may lead elsewhere than it says."""
    scheme, rest = scheme_of(url), url.partition("://")[2]
    try:
        host, path = _split_http(url) if scheme in _PORTS else ("", rest)
    except ValueError:
        return None
    parts = tuple(unquote(part) for part in path.split("/") if part)
    climbs = any(piece == ".." for part in parts for piece in re.split(r"[/\\]", _decoded(part)))
    return None if climbs else (scheme, host, *parts)


def _split_http(url: str) -> tuple[str, str]:
    split = urlsplit(url)
    port = split.port or _PORTS[split.scheme]
    return f"{split.hostname}:{port}", split.path


def _decoded(text: str) -> str:
    """Percent signs decoded as often as there are any: a server may do it twice."""
    while (plain := unquote(text)) != text:
        text = plain
    return text


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
