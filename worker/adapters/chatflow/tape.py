"""Keeps what goes over the wire, masked, in a file: around both transports of the service.

Only `doctor --record` puts it there; no other call passes through here.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, TextIO

from websockets.exceptions import ConnectionClosed

from worker.adapters.chatflow.talk import Connection
from worker.core.masking import Masker
from worker.core.recording import as_line, body, head, telling_headers


class Tape:
    """Writes events down as they happen.

    Attributes:
        events: what was written, for whoever wants to look at it afterwards.
        masker: what everything passes through first.
    """

    def __init__(self, file: TextIO, masker: Masker, now: Callable[[], float] = monotonic) -> None:
        self.events: list[dict[str, Any]] = []
        self.masker = masker
        self._file = file
        self._now = now
        self._began = now()

    def begin(self, made_by: str, settings: dict[str, Any]) -> None:
        """Write the head."""
        self._file.write(as_line(head(made_by, settings)))

    def note(self, on: str, do: str, **what: Any) -> None:
        """Write one event; what it holds is masked already."""
        event = {"at": round(self._now() - self._began, 3), "on": on, "do": do} | what
        self.events.append(event)
        self._file.write(as_line(event))
        self._file.flush()

    def message(self, on: str, do: str, raw: bytes | str, **what: Any) -> None:
        """Write down what was sent or received."""
        self.note(on, do, **what, **body(raw, self.masker))

    def connection(self) -> type[Connection]:
        """The class of websocket connections that are kept on this tape."""
        tape = self

        class Taped(_Taped):
            _tape = tape

        return Taped


class _Taped(Connection):
    """A connection whose messages are kept."""

    _tape: Tape

    async def handshake(self, *arguments: Any, **options: Any) -> None:
        try:
            await super().handshake(*arguments, **options)
        finally:
            if self.response is not None:
                headers = telling_headers(self.response.headers.raw_items())
                self._tape.note(
                    "dialog", "opened", status=self.response.status_code, headers=headers
                )

    async def send(self, message: Any, *, text: bool | None = None) -> None:
        self._tape.message("dialog", "sent", message)
        await super().send(message, text=text)

    async def recv(self, decode: bool | None = None) -> Any:  # noqa: FBT001 - the library's
        try:
            raw = await super().recv(decode)
        except ConnectionClosed as closed:
            frame = closed.rcvd or closed.sent
            code, reason = (frame.code, frame.reason) if frame is not None else (None, "")
            reason = self._tape.masker.words(reason)
            self._tape.note("dialog", "closed", code=code, reason=reason)
            raise
        if isinstance(raw, bytes) and raw[:1] == b"\0":  # marked as binary by `Connection`
            self._tape.note("dialog", "received", bytes=len(raw) - 1)
        else:
            self._tape.message("dialog", "received", raw)
        return raw
