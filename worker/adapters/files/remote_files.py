"""Files at URLs, through fsspec: only below an allowed prefix, redirects included."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from worker.adapters.files.drivers import HTTP, Driver
from worker.adapters.files.opened_file import OpenedFile, outside, shown
from worker.adapters.files.remote_failures import Doing, rejection
from worker.codes import ErrorCode
from worker.core.addresses import (
    CURE_OF_SECRETS,
    LOCAL_SCHEMES,
    file_name,
    has_secret,
    place,
    scheme_of,
    valid_text,
)
from worker.core.source_options import SourceOptions
from worker.errors import SourceAway, SourceRejected

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CONNECT_TIMEOUT, _READ_TIMEOUT = 20.0, 60.0
_TAGS = ("ETag", "etag", "generation", "md5Hash", "Content-MD5", "Digest")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modify", "Last-Modified", "created")
NO_OPTIONS = SourceOptions()


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as a listing tells of it.

    Attributes:
        size: its bytes, None where a listing does not say.
        stamp: a number that stays while the file does; None where a listing does not say enough.
    """

    url: str
    size: int | None = None
    stamp: int | None = None


def is_url(source: str) -> bool:
    """Whether a source is a URL of another place than this machine's files."""
    return bool(_URL.match(source)) and scheme_of(source) not in LOCAL_SCHEMES


def refuse_secrets(url: str) -> None:
    """Let no address pass that would have to be stored with a secret in it.

    Raises:
        SourceRejected: password_in_address.
    """
    if has_secret(url):
        message = f"{shown(url)}: {CURE_OF_SECRETS}"
        raise SourceRejected(message, code=ErrorCode.PASSWORD_IN_ADDRESS)


class RemoteFolder:
    """One URL prefix that files may come from.

    Args:
        root: the prefix.
        options: what its driver is told.
        attempts: how often a place that is away is asked, with growing waits between.
    """

    def __init__(
        self, root: str, options: SourceOptions = NO_OPTIONS, *, attempts: int = 1
    ) -> None:
        self._root = root
        self._options = options
        self._patience = Retrying(
            retry=retry_if_exception_type(SourceAway),
            stop=stop_after_attempt(attempts),
            wait=wait_exponential_jitter(1.0, 10.0),
            reraise=True,
        )
        self._scheme = scheme_of(root)
        self._parts = place(root)

    def __repr__(self) -> str:
        # Part of the name under which fsspec keeps its connections: the same root, the same ones.
        return f"RemoteFolder({shown(self._root)!r})"

    def holds(self, url: str) -> bool:
        """Whether the URL lies below the prefix, whose end is the end of a path's part."""
        parts = place(url)
        return parts is not None and parts[: len(self._parts or ())] == self._parts

    def open(self, url: str) -> OpenedFile:
        """Open a file as a stream.

        Raises:
            SourceRejected: not_found, not_a_file, unreadable, outside_roots, password_in_address.
            SourceAway: its place is out of reach for the moment.
        """
        name, size = self.look(url)
        stream = self.asked(url, lambda driver: self._stream(driver, size))
        return OpenedFile(name, size, stream, lambda error: rejection(url, error, self._options))

    def look(self, url: str) -> tuple[str, int]:
        """A file's name and size.

        Raises:
            SourceRejected, SourceAway: as `open`.
        """
        name, info = self._looked(url)
        return name, int(info["size"])

    def seen(self, url: str) -> RemoteFile:
        """A file with what tells whether it changed.

        Raises:
            SourceRejected, SourceAway: as `open`.
        """
        _, info = self._looked(url)
        return RemoteFile(url, int(info["size"]), _stamp(info) or _number(sorted(info.items())))

    def _looked(self, url: str) -> tuple[str, dict[str, Any]]:
        refuse_secrets(url)
        if not self.holds(url):
            raise outside(url)
        name = _name(url)
        info = self.asked(url, _info) if name else {"type": "directory"}
        if info.get("type") in {"directory", "unknown", "other"}:
            kind = "a folder" if info["type"] == "directory" else "a pipe, socket or device"
            message = f"{shown(url)} is {kind}; only files can be ingested"
            raise SourceRejected(message, code=ErrorCode.NOT_A_FILE)
        if info.get("size") is None:
            message = f"{shown(url)}: its server does not tell the size; copy the file to a folder"
            raise SourceRejected(message, code=ErrorCode.UNREADABLE)
        return name, info

    def reach(self) -> None:
        """Look whether the prefix itself is there.

        Raises:
            SourceRejected, SourceAway: as `open`.
        """
        self.asked(self._root, _info)

    def listing(self, url: str, *, recursive: bool) -> Iterator[RemoteFile]:
        """The files below a folder, each folder's in order; the URL itself when it is no folder.

        Raises:
            SourceRejected: the place can't be listed.
            SourceAway: it is out of reach for the moment.
        """
        refuse_secrets(url)
        try:
            is_folder = self.asked(url, self._is_folder)
        except SourceAway:
            raise
        except SourceRejected as error:
            if error.code != ErrorCode.NOT_FOUND:
                raise
            is_folder = False
        if is_folder:
            yield from self._below(url, recursive=recursive)
        else:
            yield RemoteFile(url)

    def _below(self, url: str, *, recursive: bool) -> Iterator[RemoteFile]:
        driver = self._driver(url)
        entries = self.asked(url, lambda driver: driver.system.ls(driver.path, detail=True))
        for entry in sorted(entries, key=lambda entry: str(entry["name"])):
            address = valid_text(driver.address(str(entry["name"])))
            if not self.holds(address) or place(address) == place(url):
                continue  # a link to elsewhere, or the folder's own mark
            kind = self._kind(address, entry)
            if kind == "file":
                yield RemoteFile(address, entry.get("size"), _stamp(entry))
            elif kind == "directory" and recursive:
                yield from self._below(address, recursive=True)

    def _kind(self, url: str, entry: dict[str, Any]) -> str:
        """A link to a folder is neither a file nor entered, as on this machine."""
        if entry["type"] == "directory":
            return "directory"
        if entry["type"] != "link":
            return "file"
        try:
            return "link" if self.asked(url, self._is_folder) else "file"
        except SourceRejected:
            return "file"

    def asked(self, url: str, question: Callable[[Driver], Any], doing: Doing = "read") -> Any:
        """What the driver of a URL answers.

        Raises:
            SourceRejected, SourceAway: as `open`; take_away_failed when it is more than reading.
        """

        def ask() -> Any:
            try:
                return self._answer(url, question)
            except Exception as error:  # every file system behind fsspec has errors of its own
                raise rejection(url, error, self._options, doing) from error

        return self._patience(ask)

    def _answer(self, url: str, question: Callable[[Driver], Any]) -> Any:
        driver = self._driver(url)
        try:
            return question(driver)
        except Exception as error:
            lost = isinstance(rejection(url, error, self._options), SourceAway)
            if not (lost and driver.forget()):
                raise
        return question(driver)  # the connection that was kept may just have been an old one

    def _is_folder(self, driver: Driver) -> bool:
        if self._scheme in HTTP:  # looking for links in what may be a file would fetch it all
            return urlsplit(driver.path).path.endswith("/")
        return bool(_info(driver)["type"] == "directory")

    def _stream(self, driver: Driver, size: int) -> Any:
        if self._scheme in HTTP:  # one plain GET instead of many for ranges
            return driver.system.open(driver.path, "rb", block_size=0, size=size)
        return driver.system.open(driver.path, "rb", block_size=driver.block_size)

    def _driver(self, url: str) -> Driver:
        if self._scheme in HTTP:
            return Driver(url, self._options, get_client=self._client)
        return Driver(url, self._options)

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


def _info(driver: Driver) -> Any:
    return driver.system.info(driver.path)


def _name(url: str) -> str:
    """The name of the file at the URL, "" for a folder."""
    path = urlsplit(url).path if scheme_of(url) in HTTP else url
    return "" if path.endswith("/") else file_name(url)


def _stamp(info: dict[str, Any]) -> int | None:
    """A number that is the same in a listing and in a look, and changes with the file."""
    told = next((info[key] for key in (*_TAGS, *_TIMES) if info.get(key)), None)
    if isinstance(told, datetime):
        told = told.timestamp()
    return None if told is None else _number((info.get("size"), str(told)))


def _number(told: Any) -> int:
    return int.from_bytes(sha256(repr(told).encode()).digest()[:7])
