"""Reading a reply: in bounded memory and time, and no encoding that was not asked for."""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import httpx2 as httpx

from worker.adapters.chatflow.http_failures import FAILURES
from worker.core.loose_json import MalformedReply
from worker.core.messages import Envelope, EnvelopeError, parse_envelope
from worker.core.retry_after import seconds_to_wait

LARGEST_REPLY = 64 * 2**20
"""Bytes of a reply that are read, decoded; contents can be megabytes, but not endless."""

BUSY = frozenset({429, 503})
"""HTTP statuses that ask for a pause, and may say how long."""

_GZIP = 31  # zlib's word for: one gzip layer, header and checksum included


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply; `lost` names what went wrong when its body did not arrive in full."""

    status: int
    retry_after: float | None
    location: str | None
    body: bytes
    lost: str | None = None

    def envelope(self) -> Envelope | EnvelopeError:
        """What the body says.

        Raises:
            MalformedReply: it broke off, or is no envelope.
        """
        if self.lost is not None:
            raise MalformedReply(f"it broke off ({self.lost})")
        return parse_envelope(self.body)

    def envelope_or_none(self) -> Envelope | EnvelopeError | None:
        """What the body says, if it says anything."""
        try:
            return self.envelope()
        except MalformedReply:
            return None


async def read(response: httpx.Response, within: float) -> Answer:
    """Read a reply for so many seconds; a status that arrived counts though its body is lost."""
    status = response.status_code
    told = response.headers.get("Retry-After") if status in BUSY else None
    wait = seconds_to_wait(told, time.time())
    location = response.headers.get("Location")
    try:
        return Answer(status, wait, location, await _body(response, within))
    except FAILURES as error:
        return Answer(status, wait, location, b"", lost=_named(error))
    finally:
        with suppress(*FAILURES):
            await response.aclose()


def _named(error: Exception) -> str:
    return str(error) if isinstance(error, httpx.DecodingError) else type(error).__name__


async def _body(response: httpx.Response, within: float) -> bytes:
    """The reply's body.

    Raises:
        httpx.DecodingError: it is larger than any reply should be, or in another encoding than
            the one that was asked for: a few kilobytes compressed twice can fill the memory.
        TimeoutError: it trickles in for longer than any reply should.
    """
    raw = _bounded(response.aiter_raw(), time.monotonic() + within)
    match response.headers.get("Content-Encoding", "").strip().lower():
        case "" | "identity":
            return b"".join([piece async for piece in raw])
        case "gzip":
            return await _inflated(raw)
        case other:
            raise httpx.DecodingError(f"it is encoded as {other[:50]!r}")


async def _bounded(pieces: AsyncIterator[bytes], end: float) -> AsyncIterator[bytes]:
    left = LARGEST_REPLY
    async for piece in pieces:
        if time.monotonic() > end:
            raise TimeoutError
        left -= len(piece)
        if left < 0:
            raise _too_large()
        yield piece


async def _inflated(raw: AsyncIterator[bytes]) -> bytes:
    inflate = zlib.decompressobj(_GZIP)
    pieces: list[bytes] = []
    left = LARGEST_REPLY
    try:
        async for piece in raw:
            pieces.append(inflate.decompress(piece, left + 1))
            left -= len(pieces[-1])
            if left < 0:
                raise _too_large()
    except zlib.error as error:
        raise httpx.DecodingError("it is no gzip") from error
    if not inflate.eof:
        raise httpx.DecodingError("its gzip breaks off")
    return b"".join(pieces)


def _too_large() -> httpx.DecodingError:
    return httpx.DecodingError(f"it has more than {LARGEST_REPLY} bytes")
