"""One conversation on one websocket connection: feeds `core.dialog`, and obeys it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from worker.core import dialog_events
from worker.core.dialog import Conversation
from worker.core.frames import parse_frame
from worker.core.loose_json import MalformedReply

MOST_UNREAD = 2**20
"""Bytes of ours that the other side may leave unread. We say a few hundred; more are answers to
pings, of which a service that does not read could otherwise have us pile up any number."""
_NO_JSON = b"\0"

Noise = Callable[[str, int], None]
"""Told at a dialog's end of its messages that were no frames: what was wrong with the first, and
how many they were."""


def unheard(_reason: str, _count: int) -> None:
    """Noise that nobody keeps count of."""


class Connection(ClientConnection):
    """The library's connection, on which a binary message is noise, and with a limit of unread."""

    def process_event(self, event: Any) -> None:
        """Take a message in; a binary one is marked, for the receiver sees bytes either way.

        To have the library decode text would tell them apart as well, but ends the connection
        over a single byte that is no UTF-8.
        """
        if isinstance(event, Frame) and event.opcode is Opcode.BINARY:
            event = replace(event, opcode=Opcode.TEXT, data=_NO_JSON + bytes(event.data))
        super().process_event(event)

    def pause_writing(self) -> None:
        """Give the connection up: the other side has not read `MOST_UNREAD` bytes."""
        super().pause_writing()
        self.transport.abort()


class Deaf(Exception):
    """No frame of the conversation came in time on a kept connection."""


class Talk:
    """Feeds one conversation with what happens on its connection, and obeys it."""

    def __init__(
        self,
        socket: ClientConnection,
        conversation: Conversation,
        deadline: float,
        first_by: float | None,
        noise: Noise,
        heartbeat: float,
    ) -> None:
        """Prepare; `deadline` and `first_by` are moments of the running loop's clock.

        Heartbeats are sent every `heartbeat` seconds.
        """
        self._socket = socket
        self._conversation = conversation
        self._deadline = deadline
        self._first_by = first_by
        self._noise = noise
        self._heartbeat = heartbeat
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._heartbeat_at = self._now() + self._heartbeat
        self._silence_at: float | None = None
        self._first_noise = ""

    async def run(self) -> dialog_events.Done:
        """Converse until the upload node.

        Raises:
            IngestError: what the conversation failed with.
            Deaf: nothing was heard by `first_by`.
        """
        try:
            return await self._obey()
        finally:
            if self._conversation.noises:
                self._noise(self._first_noise, self._conversation.noises)

    async def _obey(self) -> dialog_events.Done:
        event: dialog_events.Event = dialog_events.ConnectionOpened()
        while True:
            for command in self._conversation.handle(event):
                match command:
                    case dialog_events.Send(text):
                        await self._send(text)
                    case dialog_events.Await(seconds):
                        self._silence_at = None if seconds is None else self._now() + seconds
                    case dialog_events.Done():
                        return command
                    case dialog_events.Failed(error):
                        raise error
            event = await self._next_event()

    async def _send(self, text: str) -> None:
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._socket.send(text)
        except (ConnectionClosed, TimeoutError):
            pass  # the next event says so
        self._heartbeat_at = self._now() + self._heartbeat

    async def _next_event(self) -> dialog_events.Event:
        if self._now() >= self._deadline:  # also where frames come too fast for any wait
            return dialog_events.DeadlinePassed()
        try:
            async with asyncio.timeout_at(self._wake_at()):
                raw = await self._socket.recv(decode=False)
        except TimeoutError:
            return self._woken()
        except ConnectionClosed as closed:
            return _closed(closed)
        try:
            return dialog_events.FrameReceived(parse_frame(raw))
        except MalformedReply as error:
            self._first_noise = self._first_noise or str(error)
            return dialog_events.NoiseReceived()

    def _wake_at(self) -> float:
        moments = [self._deadline, self._heartbeat_at]
        if self._silence_at is not None:
            moments.append(self._silence_at)
        if self._is_waiting_for_first():
            moments.append(self._first_by or self._deadline)
        return min(moments)

    def _is_waiting_for_first(self) -> bool:
        return self._first_by is not None and not self._conversation.heard

    def _woken(self) -> dialog_events.Event:
        now = self._now()
        if self._first_by is not None and self._is_waiting_for_first() and now >= self._first_by:
            raise Deaf
        if now >= self._deadline:
            return dialog_events.DeadlinePassed()
        if self._silence_at is not None and now >= self._silence_at:
            self._silence_at = None
            return dialog_events.Silence()
        return dialog_events.HeartbeatDue()


def _closed(closed: ConnectionClosed) -> dialog_events.ConnectionClosed:
    if closed.rcvd is not None:
        return dialog_events.ConnectionClosed(closed.rcvd.code, closed.rcvd.reason)
    if closed.sent is not None:  # we closed, over a frame that breaks the protocol or is too large
        return dialog_events.ConnectionClosed(closed.sent.code, closed.sent.reason)
    return dialog_events.ConnectionClosed(None)
