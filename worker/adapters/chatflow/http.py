"""Uploads and status calls over HTTP: httpx as the interface, aiohttp as its transport.

httpx, by its maintained continuation `httpx2`, is the interface that is wanted; aiohttp's
connections cost half the processor time of its own. The modules `http_*` beside this one belong
to it: nobody else imports httpx.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

import aiohttp
import httpx2 as httpx
from httpx_aiohttp.httpx2 import AiohttpTransport

from worker.adapters.chatflow.credentials import sendable_credentials
from worker.adapters.chatflow.http_body import STALLED_AFTER, Body, watched
from worker.adapters.chatflow.http_failures import FAILURES, Fate, fate
from worker.adapters.chatflow.http_reply import Answer, read
from worker.adapters.chatflow.http_request import (
    Forms,
    ReadyHeaders,
    status_request,
    upload_request,
)
from worker.adapters.chatflow.judgement import Judge
from worker.adapters.chatflow.library_logging import silence_libraries
from worker.adapters.chatflow.tls import tls_context
from worker.core.messages import STATUS_PATH, UPLOAD_PATH, credential_headers
from worker.core.model.wire import Credentials, StatusReply, UploadForm, UploadReply
from worker.core.redaction import redactor
from worker.errors import (
    IngestError,
    ServiceFault,
    ServiceUnreachable,
    UploadUnknown,
)
from worker.ports.sources import SourceContent

SMALL_BODY = 256 * 2**10
"""Bytes up to which a body is sent in one piece, which costs less than streaming it."""
Around = Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport]
"""Wraps a transport, to see what passes through it."""

LONGEST_ASK = 60.0
"""Seconds that the body of a status reply may take to arrive."""

_KEEP_ALIVE = 4.0  # below the 5 s after which common servers close an idle connection
_CONNECTING = {"connect": 10.0, "pool": 30.0, "write": STALLED_AFTER}
_UPLOAD_LIMITS = {"timeout": {**_CONNECTING, "read": 120.0}}
_STATUS_LIMITS = {"timeout": {**_CONNECTING, "read": 30.0}}


class HttpService:
    """Submits files and asks for their status; `Uploads` and `Statuses` of `ports.service`.

    Nothing is repeated here except by the transport for a status call whose kept connection
    turned out to be closed. To be used from one event loop.
    """

    def __init__(
        self,
        *,
        base_url: str,
        credentials: Credentials,
        tenant_name: str,
        ca_bundle: str | None = None,
        max_connections: int = 128,
        around: Around | None = None,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            base_url: `https://DOMAIN` or `http://...`.
            credentials: travel as headers, the user name also in the upload's form.
            tenant_name: as registered with the service.
            ca_bundle: file or folder of authorities; None means the system's.
            max_connections: further calls wait for a free connection, 30 s at most.
            around: wraps the transport, to see what passes through it.

        Raises:
            ConfigurationError: the bundle or a credential can't be used.
        """
        silence_libraries()
        sent = sendable_credentials(credentials)
        base = base_url.rstrip("/")
        self._upload_url = httpx.URL(base + UPLOAD_PATH)
        self._status_url = httpx.URL(base + STATUS_PATH)
        self._forms = Forms(username=credentials.username, tenant_name=tenant_name)
        headers = _headers(sent)
        self._upload_headers = headers | {"Content-Type": self._forms.content_type}
        self._status_headers = ReadyHeaders(headers | {"Content-Type": "application/json"})
        self._redact = redactor(credentials)
        self._judge = Judge(self._redact)
        transport = _transport(ca_bundle, max_connections)
        self._transport = transport if around is None else around(transport)

    async def upload(self, form: UploadForm, content: SourceContent) -> UploadReply:
        """Send one file; see `ports.service.Uploads`."""
        body = Body(self._forms.head(form), content, self._forms.tail)
        headers = ReadyHeaders(self._upload_headers | {"Content-Length": str(body.length)})
        data = await body.whole() if body.length <= SMALL_BODY else body
        request = upload_request(self._upload_url, data, headers, _UPLOAD_LIMITS)
        try:
            answer = await self._exchange(request, UploadUnknown, watched(body), STALLED_AFTER)
        except (UploadUnknown, ServiceUnreachable):
            if body.failure is None:
                raise
            raise body.failure from None  # a truncated body is for certain not taken
        return self._judge.upload(answer, str(self._upload_url))

    async def ask(self, chatflow_file_id: str) -> StatusReply:
        """Ask for one file's status; see `ports.service.Statuses`."""
        request = status_request(
            self._status_url, chatflow_file_id, self._status_headers, _STATUS_LIMITS
        )
        answer = await self._exchange(request, ServiceFault, nullcontext(), LONGEST_ASK)
        return self._judge.status(answer, str(self._status_url), chatflow_file_id)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def _exchange(
        self,
        request: httpx.Request,
        lost: type[IngestError],
        watch: AbstractAsyncContextManager[None],
        within: float,
    ) -> Answer:
        """Send a request and read its reply, while the watch looks after what is sent.

        Raises:
            ServiceUnreachable: for certain nothing was sent.
            lost: the request had begun, and no status came back.
        """
        cause: Exception | None = None
        try:
            async with watch:
                response = await self._transport.handle_async_request(request)
                return await read(response, within)
        except aiohttp.ClientResponseError:
            problem = lost("the reply is not HTTP")
        except FAILURES as error:
            problem, cause = self._problem(error, lost), self._showable(error)
        # Raised here, outside the handlers: some of aiohttp's errors show the request's headers,
        # or quote what the service sent.
        raise problem from cause

    def _problem(self, error: Exception, lost: type[IngestError]) -> IngestError:
        words = self._redact(f"{type(error.__cause__ or error).__name__}: {error}")
        if fate(error) is Fate.NOT_SENT:
            return ServiceUnreachable(f"no connection to the service ({words})")
        return lost(f"the connection gave no reply ({words})")

    def _showable(self, error: Exception) -> Exception | None:
        """The error as a cause for tracebacks, unless it would show a credential."""
        told = f"{error!r} {error.__cause__!r} {error.__cause__}"
        return error if self._redact(told) == told else None


def _headers(credentials: Credentials) -> dict[str, str]:
    return {
        **credential_headers(credentials),  # the transport writes UTF-8
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": "chatflow-ingest",
    }


def _transport(ca_bundle: str | None, max_connections: int) -> httpx.AsyncBaseTransport:
    """The transport itself: an httpx client around it would add only what is switched off here.

    No redirects, cookies, authentication, proxies or logging of URLs, for a quarter less CPU
    per call.
    """
    tls = tls_context(ca_bundle)

    def session() -> aiohttp.ClientSession:  # needs a running event loop
        connector = aiohttp.TCPConnector(
            limit=max_connections, keepalive_timeout=_KEEP_ALIVE, ssl=tls
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    transport: httpx.AsyncBaseTransport = AiohttpTransport(verify=tls, client=session)
    return transport
