"""An upload's body: the form around the file's bytes, counted and watched as they go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2 as httpx

from worker.codes import ErrorCode
from worker.errors import SourceRejected
from worker.ports.sources import SourceContent

STALLED_AFTER = 180.0
"""Seconds without a byte moving after which a call is given up: the transport has no limit of
its own for a service that stops reading."""


class Body(httpx.AsyncByteStream):
    """An upload's body; it remembers when the file broke off, which the transport disguises."""

    def __init__(self, head: bytes, content: SourceContent, tail: bytes) -> None:
        self._head = head
        self._content = content
        self._tail = tail
        self.length = len(head) + content.size + len(tail)
        self.failure: SourceRejected | None = None
        self.on_progress: Callable[[], None] = _nothing

    async def whole(self) -> bytes:
        """The whole body in one piece, for a small file."""
        return b"".join([piece async for piece in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head
        try:
            async for chunk in self._measured():
                self.on_progress()
                yield chunk
        except SourceRejected as failure:
            self.failure = failure
            raise
        yield self._tail

    async def _measured(self) -> AsyncIterator[bytes]:
        """The file's chunks, provided that they are as many bytes as it was said to have."""
        left = self._content.size
        async for chunk in self._content.chunks():
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
        if left != 0:
            raise SourceRejected("the file changed while it was read", code=ErrorCode.CHANGED)


def _nothing() -> None:
    """Nobody watches the progress."""


@asynccontextmanager
async def watched(body: Body) -> AsyncIterator[None]:
    """Give a call up when the service does not read on, which the transport would wait for."""
    clock = asyncio.get_running_loop().time
    async with asyncio.timeout(STALLED_AFTER) as stall:
        body.on_progress = lambda: stall.reschedule(clock() + STALLED_AFTER)
        yield
