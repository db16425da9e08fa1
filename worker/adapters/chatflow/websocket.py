"""Dialogs over the service's websocket: the thin rim around `worker.core.dialog`."""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from worker.adapters.chatflow.credentials import latin_headers, sendable_credentials
from worker.adapters.chatflow.kept_lines import CLOSE_SECONDS, Keeping, KeptLines, Line
from worker.adapters.chatflow.library_logging import silence_libraries, silent_logger
from worker.adapters.chatflow.redirects import REDIRECTS, redirected
from worker.adapters.chatflow.talk import MOST_UNREAD, Connection, Deaf, Noise, Talk, unheard
from worker.adapters.chatflow.tls import tls_context
from worker.core.dialog import Conversation
from worker.core.messages import DIALOG_PATH, question_frame
from worker.core.model.ids import DialogId
from worker.core.model.wire import Credentials, DialogSession
from worker.core.redaction import redactor
from worker.core.reply_words import http_words
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
_SEGMENT_LETTERS = string.ascii_letters + string.digits
_SEGMENT_LENGTH = 22
_SILENT = silent_logger()


class _ConnectOnce(connect):
    """The library's connect, but a redirect is an answer: it would carry our headers elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@dataclass(frozen=True, slots=True)
class Opening:
    """What the opening frame of a dialog says; `flow_uuid` opens that flow directly."""

    question: str
    message_source: str
    flow_uuid: str | None = None


class WebsocketDialogs:
    """Opens dialog sessions; `ports.service.Dialogs`.

    Connections are kept for a short while and carry the next conversation, under a fresh segment
    code; one that stays silent is replaced within the same call. To be used from one event loop.

    Attributes:
        connection: the class of connections that are made; to be set before the first.
    """

    connection: type[Connection] = Connection

    def __init__(
        self,
        *,
        base_url: str,
        credentials: Credentials,
        opening: Opening,
        timeout: float,
        ca_bundle: str | None = None,
        noise: Noise = unheard,
        keeping: Keeping | None = None,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            base_url: `https://DOMAIN` or `http://...`; the websocket address derives from it.
            credentials: travel as headers and in the opening frame.
            opening: what the opening frame says.
            timeout: seconds for one dialog to reach its upload node, connecting included.
            ca_bundle: file or folder of authorities; None means the system's.
            noise: is told of each dialog's messages that are no frames.
            keeping: how connections are kept.

        Raises:
            ConfigurationError: the bundle or a credential can't be used.
        """
        silence_libraries()
        self._address = "ws" + base_url.rstrip("/").removeprefix("http") + DIALOG_PATH
        self._tls = tls_context(ca_bundle) if self._address.startswith("wss:") else None
        self._credentials = sendable_credentials(credentials)
        self._headers = latin_headers(self._credentials)
        self._redact = redactor(credentials)
        self._opening = opening
        self._timeout = timeout
        self._noise = noise
        self._kept = KeptLines(keeping or Keeping())

    async def open(self) -> DialogSession:
        """Open one dialog and follow it to its upload node; see `ports.service.Dialogs`."""
        line = self._kept.take()
        if line is not None:
            session = await self._converse_again(line)
            if session is not None:
                return session
        deadline = self._deadline()
        fresh = Line(await self._connect(deadline))
        return await self._converse(fresh, self._conversation(fresh), deadline)

    async def aclose(self) -> None:
        """Close every kept connection."""
        await self._kept.aclose()

    # --- conversations ---------------------------------------------------------------------------

    def _conversation(self, line: Line) -> Conversation:
        opening = self._opening
        ask = partial(
            question_frame,
            self._credentials,
            segment_code="".join(secrets.choice(_SEGMENT_LETTERS) for _ in range(_SEGMENT_LENGTH)),
            message_source=opening.message_source,
        )

        def follow(flow_uuid: str | None) -> str:
            return ask(opening.question if flow_uuid else "", flow_uuid=flow_uuid)

        question = ask(opening.question, flow_uuid=opening.flow_uuid)
        return Conversation(question, follow, former=line.former, redact=self._redact)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout

    async def _converse_again(self, line: Line) -> DialogSession | None:
        """Converse on a kept connection; None when it was closed, or silent for its patience."""
        conversation = self._conversation(line)
        deadline = self._deadline()
        first_by = deadline - self._timeout + min(self._kept.keeping.patience, self._timeout)
        try:
            return await self._converse(line, conversation, deadline, first_by)
        except (ServiceFault, CredentialsRefused):
            if conversation.heard:
                raise
            return None

    async def _converse(
        self,
        line: Line,
        conversation: Conversation,
        deadline: float,
        first_by: float | None = None,
    ) -> DialogSession:
        """Converse to the end; the connection is kept after a success and dropped otherwise.

        Also one on which a jump was followed: frames of two rounds may still be on their way.
        """
        talk = Talk(
            line.socket, conversation, deadline, first_by, self._noise, self._kept.keeping.heartbeat
        )
        try:
            done = await talk.run()
        except Deaf as silence:
            self._kept.silent(line)
            raise ServiceFault("a kept connection stayed silent") from silence
        except BaseException:
            self._kept.discard(line)
            raise
        self._kept.keep(line, None if conversation.jumps else done.dialog_id)
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
                close_timeout=CLOSE_SECONDS,
                create_connection=self.connection,
                write_limit=MOST_UNREAD,
                ping_interval=None,  # the dialog has a heartbeat and a deadline of its own
                max_size=LARGEST_FRAME,
                logger=_SILENT,
                proxy=None,
                **tls,
            )
        except OSError as error:
            problem, cause = self._handshake_problem(error), error
        except WebSocketException as error:
            problem = self._handshake_problem(error)
        # Raised here, outside the handlers: the library's own errors carry headers and bodies.
        raise problem from cause

    def _handshake_problem(self, error: OSError | WebSocketException) -> IngestError:
        """What a failed opening means; no request reached a dialog in any of these cases."""
        match error:
            case InvalidStatus() if error.response.status_code in REDIRECTS:
                location = error.response.headers.get("Location")
                return redirected(self._address, location, self._redact)
            case InvalidStatus():
                return self._rejection(error)
            case TimeoutError():
                return ServiceUnreachable("no websocket connection before the dialog's deadline")
            case OSError() | InvalidURI():  # TLS failures are OSErrors too
                return ServiceUnreachable(f"no websocket connection: {error}")
            case _:
                return ServiceFault(f"broken websocket handshake ({type(error).__name__})")

    def _rejection(self, error: InvalidStatus) -> IngestError:
        status, headers = error.response.status_code, error.response.headers
        said = http_words(status, bytes(error.response.body), self._redact)
        words = f"the websocket handshake was answered with {said}"
        if status in {401, 403}:
            return CredentialsRefused(words)
        if status in {429, 503}:
            wait = seconds_to_wait(headers.get("Retry-After"), time.time())
            return ServiceBusy(words, retry_after=wait, everything=status == 503)
        return ServiceFault(words)
