"""What can go wrong below HTTP, and how far a request had come by then.

The transport's translation of aiohttp's errors does not tell "no connection" from "the connection
broke", which for an upload is the difference between *try again* and *nobody knows*; so the
causes are looked at here.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType

import aiohttp
import httpx2 as httpx

FAILURES = (
    httpx.HTTPError,
    httpx.StreamError,
    httpx.InvalidURL,
    aiohttp.ClientError,
    OSError,  # TimeoutError is one: the call stalled
)
"""Every way in which a call can go wrong below HTTP."""


class Fate(Enum):
    """How far a failed request had come."""

    NOT_SENT = "not sent"
    BEGUN = "begun"


FATES: MappingProxyType[type[Exception], Fate] = MappingProxyType(
    {
        # aiohttp, as the transport's cause. Its ClientConnectionError stands for a connection
        # that broke; only these descendants of it tell that there never was one.
        aiohttp.ClientConnectorError: Fate.NOT_SENT,  # refused, DNS, TLS, proxy
        aiohttp.ConnectionTimeoutError: Fate.NOT_SENT,  # connecting, or waiting for a free one
        aiohttp.ServerFingerprintMismatch: Fate.NOT_SENT,
        aiohttp.InvalidURL: Fate.NOT_SENT,
        aiohttp.NonHttpUrlClientError: Fate.NOT_SENT,
        aiohttp.ClientError: Fate.BEGUN,
        # httpx, where nothing of aiohttp is behind it.
        httpx.ConnectError: Fate.NOT_SENT,
        httpx.ConnectTimeout: Fate.NOT_SENT,
        httpx.PoolTimeout: Fate.NOT_SENT,
        httpx.ProxyError: Fate.NOT_SENT,
        httpx.UnsupportedProtocol: Fate.NOT_SENT,
        httpx.LocalProtocolError: Fate.NOT_SENT,
        httpx.InvalidURL: Fate.NOT_SENT,
        httpx.TimeoutException: Fate.BEGUN,
        httpx.ReadTimeout: Fate.BEGUN,
        httpx.WriteTimeout: Fate.BEGUN,
        httpx.ReadError: Fate.BEGUN,
        httpx.WriteError: Fate.BEGUN,
        httpx.CloseError: Fate.BEGUN,
        httpx.RemoteProtocolError: Fate.BEGUN,
        httpx.DecodingError: Fate.BEGUN,
        httpx.TooManyRedirects: Fate.BEGUN,
        httpx.HTTPStatusError: Fate.BEGUN,
        httpx.StreamError: Fate.BEGUN,
        OSError: Fate.BEGUN,
    }
)
"""How far a request had come, by the class of the error or its nearest listed ancestor."""


def fate(error: Exception) -> Fate:
    """How far the request had come that failed with this error; when in doubt, it had begun."""
    cause = error.__cause__
    known = cause if isinstance(cause, aiohttp.ClientError) else error
    return next((FATES[kind] for kind in type(known).__mro__ if kind in FATES), Fate.BEGUN)
