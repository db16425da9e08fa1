"""Dialogs over the service's websocket: the thin rim around `worker.core.dialog`."""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.protocol import State

from worker.adapters.silence import silence_libraries, silent_logger
from worker.adapters.wire import latin_headers, sendable_credentials, tls_context
from worker.core import dialog
from worker.core.messages import DIALOG_PATH, MalformedReply, parse_frame, question_frame
from worker.core.model import Credentials, DialogId, DialogSession
from worker.core.redaction import redactor
from worker.core.retry_after import seconds_to_wait
from worker.errors import (
    CredentialsRefused,
    IngestError,
    ServiceBusy,
    ServiceFault,
    ServiceUnreachable,
)

LARGEST_FRAME = 10 * 2**20
"""Bytes; frames echo history and prompts and may well exceed the library's 1 MiB."""
HEARTBEAT_EVERY = 10.0
"""Seconds between our heartbeats while a dialog waits."""
MOST_IDLE = 8
"""Connections that are kept for further conversations."""
IDLE_SECONDS = 20.0
"""Seconds for which a connection is kept for the next conversation."""
REUSE_PATIENCE = 5.0
"""Seconds a reused connection may stay silent before a fresh one is taken."""
MOST_SILENCES = 2
"""Silent reused connections after which this service is taken not to support reuse."""
_CLOSE_SECONDS = 1.0
_SEGMENT_LETTERS = string.ascii_letters + string.digits
_SEGMENT_LENGTH = 22
_SILENT = silent_logger()


class _ConnectOnce(connect):
    """The library's connect, but a redirect is an answer: it would carry our headers elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@dataclass(eq=False, slots=True)
class _Line:
    """A connection and the ids of the dialogs it has carried."""

    socket: ClientConnection
    former: list[str] = field(default_factory=list)
    expiry: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self.socket.state is State.OPEN


class WebsocketDialogs:
    """Opens dialog sessions; `ports.Dialogs`.

    Connections are kept for a short while and carry the next conversation, under a fresh
    segment code. Whether the service likes that is found out by doing: a kept connection that
    stays silent is replaced within the same call, and after two of them none is kept any more.
    To be used from one event loop.
    """

    def __init__(
        self,
        *,
        base_url: str,
        credentials: Credentials,
        question: str,
        message_source: str,
        flow_uuid: str | None,
        timeout: float,
        ca_bundle: str | None = None,
        decode_credentials: bool = False,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            base_url: `https://DOMAIN` or `http://...`; the websocket address derives from it.
            credentials: travel as headers and in the opening frame.
            question: what opens the upload intent.
            message_source: the `message_source` of the opening frame.
            flow_uuid: opens this flow directly; None lets the question decide.
            timeout: seconds for one dialog to reach its upload node, connecting included.
            ca_bundle: file or folder of authorities; None means the system's.
            decode_credentials: percent-decode key and token before sending.

        Raises:
            ConfigurationError: the bundle or a credential can't be used.
        """
        silence_libraries()
        self._address = "ws" + base_url.rstrip("/").removeprefix("http") + DIALOG_PATH
        self._tls = tls_context(ca_bundle) if self._address.startswith("wss:") else None
        self._credentials = sendable_credentials(credentials, decode=decode_credentials)
        self._headers = latin_headers(self._credentials)
        self._redact = redactor(credentials)
        self._question = question
        self._message_source = message_source
        self._flow_uuid = flow_uuid
        self._timeout = timeout
        self._idle: list[_Line] = []
        self._most_idle = MOST_IDLE
        self._silences = 0
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self) -> DialogSession:
        """Open one dialog and follow it to its upload node; see `ports.Dialogs`."""
        line = self._take_idle()
        if line is not None:
            session = await self._converse_again(line)
            if session is not None:
                return session
        deadline = self._deadline()
        fresh = _Line(await self._connect(deadline))
        return await self._settle(fresh, self._conversation(fresh), deadline)

    async def aclose(self) -> None:
        """Close every kept connection."""
        self._most_idle = 0
        while line := self._take_idle():
            self._discard(line)
        await asyncio.gather(*self._closing)

    # --- conversations ---------------------------------------------------------------------------

    def _conversation(self, line: _Line) -> dialog.Conversation:
        segment = "".join(secrets.choice(_SEGMENT_LETTERS) for _ in range(_SEGMENT_LENGTH))
        question = question_frame(
            self._credentials, self._question, segment, self._message_source, self._flow_uuid
        )
        return dialog.Conversation(question, former=line.former, redact=self._redact)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout

    async def _converse_again(self, line: _Line) -> DialogSession | None:
        """Converse on a kept connection; None when it turned out to be dead or deaf."""
        conversation = self._conversation(line)
        deadline = self._deadline()
        first_by = deadline - self._timeout + min(REUSE_PATIENCE, self._timeout)
        try:
            return await self._settle(line, conversation, deadline, first_by)
        except (ServiceFault, CredentialsRefused):
            if conversation.heard:
                raise
            return None

    async def _settle(
        self,
        line: _Line,
        conversation: dialog.Conversation,
        deadline: float,
        first_by: float | None = None,
    ) -> DialogSession:
        """Converse to the end; the connection is kept after a success and dropped otherwise."""
        try:
            done = await _Talk(line.socket, conversation, deadline, first_by).run()
        except _Deaf as silence:
            self._silences += 1
            self._discard(line)
            raise ServiceFault("a kept connection stayed silent") from silence
        except BaseException:
            self._discard(line)
            raise
        self._keep(line, done.dialog_id)
        return DialogSession(DialogId(uuid4()), done.dialog_id, done.node)

    # --- connections -----------------------------------------------------------------------------

    async def _connect(self, deadline: float) -> ClientConnection:
        tls: dict[str, Any] = {} if self._tls is None else {"ssl": self._tls}
        cause: Exception | None = None
        try:
            return await _ConnectOnce(
                self._address,
                additional_headers=self._headers,
                open_timeout=max(0.0, deadline - asyncio.get_running_loop().time()),
                close_timeout=_CLOSE_SECONDS,
                ping_interval=None,  # the dialog has a heartbeat and a deadline of its own
                max_size=LARGEST_FRAME,
                logger=_SILENT,
                proxy=None,
                **tls,
            )
        except OSError as error:
            problem, cause = _handshake_problem(error), error
        except WebSocketException as error:
            problem = _handshake_problem(error)
        # Raised here, outside the handlers: the library's own errors carry headers and bodies.
        raise problem from cause

    def _take_idle(self) -> _Line | None:
        while self._idle:
            line = self._idle.pop()
            if line.expiry is not None:
                line.expiry.cancel()
            if line.is_open:
                return line
            self._discard(line)
        return None

    def _keep(self, line: _Line, dialog_id: str | None) -> None:
        # Without an id, late frames of this dialog could not be told from the next one's.
        full = len(self._idle) >= self._most_idle
        if full or dialog_id is None or not line.is_open or self._silences >= MOST_SILENCES:
            self._discard(line)
            return
        line.former.append(dialog_id)
        loop = asyncio.get_running_loop()
        line.expiry = loop.call_later(IDLE_SECONDS, self._expire, line)
        self._idle.append(line)

    def _expire(self, line: _Line) -> None:
        if line in self._idle:
            self._idle.remove(line)
            self._discard(line)

    def _discard(self, line: _Line) -> None:
        """Close a connection without waiting for the other side."""
        task = asyncio.get_running_loop().create_task(line.socket.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class _Deaf(Exception):
    """No frame of the conversation came in time on a kept connection."""


class _Talk:
    """Feeds one conversation with what happens on its connection, and obeys it."""

    def __init__(
        self,
        socket: ClientConnection,
        conversation: dialog.Conversation,
        deadline: float,
        first_by: float | None,
    ) -> None:
        self._socket = socket
        self._conversation = conversation
        self._deadline = deadline
        self._first_by = first_by
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._heartbeat_at = self._now() + HEARTBEAT_EVERY

    async def run(self) -> dialog.Done:
        """Converse until the upload node.

        Raises:
            IngestError: what the conversation failed with.
            _Deaf: nothing was heard by `first_by`.
        """
        event: dialog.Event = dialog.Opened()
        while True:
            for command in self._conversation.handle(event):
                match command:
                    case dialog.Send(text):
                        await self._send(text)
                    case dialog.Done():
                        return command
                    case dialog.Failed(error):
                        raise error
            event = await self._next_event()

    async def _send(self, text: str) -> None:
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._socket.send(text)
        except (ConnectionClosed, TimeoutError):
            pass  # the next event says so
        self._heartbeat_at = self._now() + HEARTBEAT_EVERY

    async def _next_event(self) -> dialog.Event:
        try:
            async with asyncio.timeout_at(self._wake_at()):
                raw = await self._socket.recv(decode=False)
        except TimeoutError:
            return self._woken()
        except ConnectionClosed as closed:
            return _closed(closed)
        try:
            return dialog.FrameReceived(parse_frame(raw))
        except MalformedReply as error:
            raise ServiceFault(str(error)) from error

    def _wake_at(self) -> float:
        moments = [self._deadline, self._heartbeat_at]
        if self._is_waiting_for_first():
            moments.append(self._first_by or self._deadline)
        return min(moments)

    def _is_waiting_for_first(self) -> bool:
        return self._first_by is not None and not self._conversation.heard

    def _woken(self) -> dialog.Event:
        now = self._now()
        if self._first_by is not None and self._is_waiting_for_first() and now >= self._first_by:
            raise _Deaf
        return dialog.DeadlinePassed() if now >= self._deadline else dialog.HeartbeatDue()


def _closed(closed: ConnectionClosed) -> dialog.ConnectionClosed:
    if closed.rcvd is not None:
        return dialog.ConnectionClosed(closed.rcvd.code, closed.rcvd.reason)
    if closed.sent is not None:  # we closed, over a frame that breaks the protocol or is too large
        return dialog.ConnectionClosed(closed.sent.code, closed.sent.reason)
    return dialog.ConnectionClosed(None)


def _handshake_problem(error: OSError | WebSocketException) -> IngestError:
    """What a failed opening means; no request reached a dialog in any of these cases."""
    match error:
        case InvalidStatus():
            return _rejection(error)
        case TimeoutError():
            return ServiceUnreachable("no websocket connection before the dialog's deadline")
        case OSError() | InvalidURI():  # TLS failures are OSErrors too
            return ServiceUnreachable(f"no websocket connection: {error}")
        case _:
            return ServiceFault(f"broken websocket handshake ({type(error).__name__})")


def _rejection(error: InvalidStatus) -> IngestError:
    status, headers = error.response.status_code, error.response.headers
    words = f"the websocket handshake was answered with HTTP {status}"
    if status in {401, 403}:
        return CredentialsRefused(words)
    if status in {429, 503}:
        wait = seconds_to_wait(headers.get("Retry-After"), time.time())
        return ServiceBusy(words, retry_after=wait, everything=status == 503)
    return ServiceFault(words)
