"""What a driver's exceptions mean for the file: each has its own, around those of libraries."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Literal

from worker.adapters.files.drivers import HTTP
from worker.adapters.files.opened_file import shown
from worker.codes import ErrorCode
from worker.core.addresses import scheme_of
from worker.core.source_options import SourceOptions
from worker.errors import SourceAway, SourceRejected

Doing = Literal["read", "deleted or moved", "written"]

_GONE = frozenset({404, 410})
_BUSY, _FAULT = frozenset({408, 425, 429}), 500
_NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNRESET})
_AWAY = frozenset(
    {
        "ClientConnectionError", "ClientPayloadError",  # aiohttp
        "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError",
        "ConnectionClosedError", "IncompleteReadError",  # botocore
        "ServiceRequestError", "ServiceResponseError",  # azure
        "ConnectionLost", "SFTPConnectionLost", "SFTPNoConnection", "ChannelOpenError",  # asyncssh
    }
)  # fmt: skip
"""Classes of packages that need not be installed: no connection came about, or it broke."""

_CURES = {
    "HostKeyNotVerifiable": "; add the server's key to ~/.ssh/known_hosts, or name a file of keys"
    " as known_hosts in INGEST_SOURCE_OPTIONS",
    "PermissionDenied": "; see username, password or client_keys in INGEST_SOURCE_OPTIONS",
    "NoCredentialsError": "; give key and secret in INGEST_SOURCE_OPTIONS",
}


def rejection(
    url: str, error: Exception, options: SourceOptions, doing: Doing = "read"
) -> SourceRejected:
    """Why something can't be done with a file at a URL; a `SourceAway` if that may pass."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, SourceRejected):
            return cause
    statuses = {status for cause in causes if (status := _status(cause)) is not None}
    if _is_gone(url, error, statuses):
        return SourceRejected(
            f"{shown(url)} is not there; check the address", code=ErrorCode.NOT_FOUND
        )
    if _kinds(causes) & {"FileExpired"}:
        message = f"{shown(url)} changed while it was read; hand it in again when it is complete"
        return SourceRejected(message, code=ErrorCode.CHANGED)
    # fsspec calls every failed look at an http address "not found": its cause knows better.
    telling = causes[1] if scheme_of(url) in HTTP and causes[1:] else error
    why = options.hidden(shown(str(telling) or type(telling).__name__))
    cure = next((_CURES[kind] for kind in _CURES if kind in _kinds(causes)), "")
    message = f"{shown(url)} can't be {doing} ({why}){cure or '; check access, and its driver'}"
    away = _is_busy(statuses) if statuses else _is_away(causes)
    code = ErrorCode.UNREADABLE if doing == "read" else ErrorCode.TAKE_AWAY_FAILED
    return (SourceAway if away else SourceRejected)(message, code=code)


def _is_gone(url: str, error: Exception, statuses: set[int]) -> bool:
    if not isinstance(error, FileNotFoundError):
        return False
    return bool(statuses & _GONE) or scheme_of(url) not in HTTP


def _is_busy(statuses: set[int]) -> bool:
    return any(status in _BUSY or status >= _FAULT for status in statuses)


def _is_away(causes: list[BaseException]) -> bool:
    """Whether no connection came about, or it broke: the place may be back in a moment."""
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in causes):
        return False
    if any(isinstance(each, ConnectionError | TimeoutError | socket.gaierror) for each in causes):
        return True
    if any(isinstance(each, OSError) and each.errno in _NO_ROUTE for each in causes):
        return True
    return bool(_kinds(causes) & _AWAY)


def _status(error: BaseException) -> int | None:
    """The HTTP status that a driver's exception speaks of, wherever it keeps it."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:  # aiohttp; azure; gcsfs, as a number or as a text
        found = (
            getattr(error, "status", None)
            or getattr(error, "status_code", None)
            or getattr(error, "code", None)
        )
    number = str(found)
    return int(number) if number.isdecimal() and 100 <= int(number) < 600 else None


def _kinds(causes: list[BaseException]) -> set[str]:
    return {kind.__name__ for cause in causes for kind in type(cause).__mro__}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
