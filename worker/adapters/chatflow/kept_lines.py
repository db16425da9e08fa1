"""Websocket connections that are kept for the next dialog.

Whether the service likes that is found out by doing: after some kept connections that stayed
silent, none is kept any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

CLOSE_SECONDS = 1.0
"""Seconds that the other side is given to say goodbye."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How connections are kept, for a dialog and for the next one; times in seconds.

    Attributes:
        heartbeat: between our heartbeats while a dialog waits.
        most: connections that are kept at once.
        idle: for how long one is kept for the next conversation.
        patience: how long one may stay silent before a fresh one is taken.
        most_silences: silent ones after which the service is taken not to support reuse.
    """

    heartbeat: float = 10.0
    most: int = 8
    idle: float = 20.0
    patience: float = 5.0
    most_silences: int = 2


@dataclass(eq=False, slots=True)
class Line:
    """A connection and the ids of the dialogs it has carried."""

    socket: ClientConnection
    former: list[str] = field(default_factory=list)
    expiry: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent on it."""
        return self.socket.state is State.OPEN


class KeptLines:
    """The connections that are idle now, and those that are being closed; see `Keeping`."""

    def __init__(self, keeping: Keeping) -> None:
        self.keeping = keeping
        self._idle: list[Line] = []
        self._silences = 0
        self._is_closed = False
        self._closing: set[asyncio.Task[None]] = set()

    def take(self) -> Line | None:
        """The connection that was kept last and is still open, None when there is none."""
        while self._idle:
            line = self._idle.pop()
            if line.expiry is not None:
                line.expiry.cancel()
            if line.is_open:
                return line
            self.discard(line)
        return None

    def keep(self, line: Line, dialog_id: str | None) -> None:
        """Keep a connection that has carried this dialog, if it may be kept at all.

        Without an id, late frames of the dialog could not be told from the next one's.
        """
        wanted = len(self._idle) < self.keeping.most and not self._is_closed
        trusted = self._silences < self.keeping.most_silences
        if dialog_id is None or not (wanted and trusted and line.is_open):
            self.discard(line)
            return
        line.former.append(dialog_id)
        loop = asyncio.get_running_loop()
        line.expiry = loop.call_later(self.keeping.idle, self._expire, line)
        self._idle.append(line)

    def silent(self, line: Line) -> None:
        """A kept connection said nothing in time: close it, and remember."""
        self._silences += 1
        self.discard(line)

    def discard(self, line: Line) -> None:
        """Close a connection without waiting for the other side."""
        task = asyncio.get_running_loop().create_task(_close(line.socket))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close every connection, and keep none from now on."""
        self._is_closed = True
        while line := self.take():
            self.discard(line)
        await asyncio.gather(*self._closing)

    def _expire(self, line: Line) -> None:
        if line in self._idle:
            self._idle.remove(line)
            self.discard(line)


async def _close(socket: ClientConnection) -> None:
    """Say goodbye; the connection is cut where the other side does not even read that."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await socket.close()
    except TimeoutError:
        socket.transport.abort()
