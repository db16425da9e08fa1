"""Uploads and status calls over HTTP: the only importer of httpx.

httpx is the interface and aiohttp its transport, because httpx's own connection pool searches
itself at every call. The transport's translation of aiohttp's errors does not tell "no
connection" from "the connection broke", which for an upload is the difference between *try
again* and *nobody knows*; so the causes are looked at here.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, ItemsView
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import NoReturn
from urllib.parse import quote

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from worker.adapters.silence import silence_libraries
from worker.adapters.wire import sendable_credentials, tls_context
from worker.core.contents import clean_text
from worker.core.messages import (
    STATUS_PATH,
    UPLOAD_PATH,
    Envelope,
    EnvelopeError,
    MalformedReply,
    credential_headers,
    parse_envelope,
    parse_status_reply,
    parse_upload_reply,
    refuses_credentials,
)
from worker.core.model import Credentials, StatusReply, UploadForm, UploadReply
from worker.core.redaction import redactor
from worker.core.retry_after import seconds_to_wait
from worker.errors import (
    CredentialsRefused,
    IngestError,
    ServiceBusy,
    ServiceFault,
    ServiceUnreachable,
    SourceRejected,
    UploadRefused,
    UploadUnknown,
)
from worker.ports import SourceContent

LARGEST_REPLY = 64 * 2**20
"""Bytes of a reply that are read; contents can be megabytes, but not endless."""
SMALL_BODY = 256 * 2**10
"""Bytes up to which a body is sent in one piece, which costs less than streaming it."""
_Parts = list[tuple[str, tuple[str | None, bytes]]]

STALLED_AFTER = 180.0
"""Seconds without a byte moving after which a call is given up: the transport has no limit of
its own for a service that stops reading."""
_BUSY = frozenset({429, 503})
_KEEP_ALIVE = 4.0  # below the 5 s after which common servers close an idle connection
_CONNECTING = {"connect": 10.0, "pool": 30.0, "write": STALLED_AFTER}
_UPLOAD_LIMITS = {"timeout": {**_CONNECTING, "read": 120.0}}
_STATUS_LIMITS = {"timeout": {**_CONNECTING, "read": 30.0}}


class HttpService:
    """Submits files and asks for their status; `ports.Uploads` and `ports.Statuses`.

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
        decode_credentials: bool = False,
        max_connections: int = 128,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            base_url: `https://DOMAIN` or `http://...`.
            credentials: travel as headers, the user name also in the upload's form.
            tenant_name: as registered with the service.
            ca_bundle: file or folder of authorities; None means the system's.
            decode_credentials: percent-decode key and token before sending.
            max_connections: further calls wait for a free connection, 30 s at most.

        Raises:
            ConfigurationError: the bundle or a credential can't be used.
        """
        silence_libraries()
        sent = sendable_credentials(credentials, decode=decode_credentials)
        base = base_url.rstrip("/")
        self._upload_url = httpx.URL(base + UPLOAD_PATH)
        self._status_url = httpx.URL(base + STATUS_PATH)
        self._multipart = _Multipart(username=credentials.username, tenant_name=tenant_name)
        headers = _headers(sent)
        self._upload_headers = headers | {"Content-Type": self._multipart.content_type}
        self._status_headers = _Ready(headers | {"Content-Type": "application/json"})
        self._redact = redactor(credentials)
        self._transport = _transport(ca_bundle, max_connections)

    async def upload(self, form: UploadForm, content: SourceContent) -> UploadReply:
        """Send one file; see `ports.Uploads`."""
        head = self._multipart.head(form)
        body = _Body(head, content, self._multipart.tail)
        answer = await self._send_file(body)
        return self._judge_upload(answer)

    async def ask(self, chatflow_file_id: str) -> StatusReply:
        """Ask for one file's status; see `ports.Statuses`."""
        url = _WithQuery(self._status_url, f"file_id={quote(chatflow_file_id, safe='')}")
        request = httpx.Request("GET", url, stream=_NO_BODY, extensions=_STATUS_LIMITS)
        request.url, request.headers = url, self._status_headers
        request.read()
        return self._judge_status(await self._exchange(request, ServiceFault, nullcontext()))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    # --- one call --------------------------------------------------------------------------------

    async def _send_file(self, body: _Body) -> _Answer:
        small = body.length <= SMALL_BODY
        request = httpx.Request(
            "POST",
            self._upload_url,
            stream=httpx.ByteStream(await body.whole()) if small else body,
            extensions=_UPLOAD_LIMITS,
        )
        request.headers = _Ready(self._upload_headers | {"Content-Length": str(body.length)})
        if small:
            request.read()  # the transport then hands it on as it is, instead of iterating over it
        try:
            return await self._exchange(request, UploadUnknown, _watched(body))
        except (UploadUnknown, ServiceUnreachable):
            if body.failure is None:
                raise
        raise body.failure  # the source broke off: a truncated body is for certain not taken

    async def _exchange(
        self,
        request: httpx.Request,
        lost: type[IngestError],
        watch: AbstractAsyncContextManager[None],
    ) -> _Answer:
        """Send a request and read its reply, while the watch looks after what is sent.

        Raises:
            ServiceUnreachable: for certain nothing was sent.
            lost: the request had begun, and no status came back.
        """
        cause: Exception | None = None
        try:
            async with watch:
                return await _read(await self._transport.handle_async_request(request))
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

    # --- what an answer means --------------------------------------------------------------------

    def _judge_upload(self, answer: _Answer) -> UploadReply:
        self._judge_status_line(answer)
        if answer.status >= 500 or answer.status < 200:
            raise UploadUnknown(f"the upload was answered with HTTP {answer.status}")
        if answer.status >= 300:
            self._refuse(answer)
        try:
            envelope = answer.envelope()
            if isinstance(envelope, Envelope):
                return parse_upload_reply(envelope.data)
        except MalformedReply as error:
            raise UploadUnknown(f"the upload's reply is unreadable: {error}") from error
        self._judge_words(envelope)
        raise UploadRefused(self._words(envelope), code=envelope.code)

    def _refuse(self, answer: _Answer) -> NoReturn:
        """An HTTP 3xx or 4xx: not taken; 408 and 425 are about this moment only."""
        words, code = f"HTTP {answer.status}", f"http_{answer.status}"
        if isinstance(error := answer.envelope_or_none(), EnvelopeError):
            self._judge_words(error)
            words, code = f"{words}: {self._words(error)}", error.code or code
        raise UploadRefused(words, code=code, permanent=answer.status not in {408, 425})

    def _judge_status(self, answer: _Answer) -> StatusReply:
        self._judge_status_line(answer)
        if not 200 <= answer.status < 300:
            raise ServiceFault(
                f"the status call was answered with HTTP {answer.status}",
                code=f"http_{answer.status}",
            )
        try:
            envelope = answer.envelope()
            if isinstance(envelope, Envelope):
                return self._cleaned(parse_status_reply(envelope.data))
        except MalformedReply as error:
            raise ServiceFault(f"the status reply is unreadable: {error}") from error
        if refuses_credentials(envelope.code, ""):  # other errors have been seen to pass by
            self._judge_words(envelope)
        raise ServiceFault(self._words(envelope), code=envelope.code)

    def _judge_status_line(self, answer: _Answer) -> None:
        """What an HTTP status means for either kind of call."""
        if answer.status in {401, 403}:
            raise CredentialsRefused(f"the service refuses the credentials: HTTP {answer.status}")
        if answer.status in _BUSY:
            raise ServiceBusy(
                f"the service is busy: HTTP {answer.status}",
                retry_after=answer.retry_after,
                everything=answer.status == 503,
            )

    def _judge_words(self, error: EnvelopeError) -> None:
        if refuses_credentials(error.code, error.message):
            raise CredentialsRefused(f"the service refuses the credentials: {self._words(error)}")

    def _words(self, error: EnvelopeError) -> str:
        return clean_text(self._redact(f"{error.code} {error.message}".strip()))

    def _cleaned(self, reply: StatusReply) -> StatusReply:
        if not reply.error_message:
            return reply
        return replace(reply, error_message=clean_text(self._redact(reply.error_message)))


# --- requests ------------------------------------------------------------------------------------


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


def _headers(credentials: Credentials) -> dict[str, str]:
    return {
        **credential_headers(credentials),  # the transport writes UTF-8
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": "chatflow-ingest",
    }


_NO_BODY = httpx.ByteStream(b"")
_PLAIN_NAME = re.compile(r"(?P<stem>[\w -]+)(?P<extension>\.[A-Za-z0-9]{1,8})")
_STEM = secrets.token_hex(8)  # stands where a name's own stem goes


class _WithQuery(httpx.URL):
    """An address that was parsed before, with a query that needs no parsing.

    Parsing the whole of it takes a tenth of what a status call costs.
    """

    def __init__(self, parsed: httpx.URL, query: str) -> None:
        super().__init__(parsed)
        self._whole = f"{parsed}?{query}"

    def __str__(self) -> str:
        return self._whole


class _Ready(httpx.Headers):
    """Headers that the transport takes as they are, without encoding and decoding each."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__()
        self._whole = headers

    def __len__(self) -> int:
        return len(self._whole)

    def items(self) -> ItemsView[str, str]:
        return self._whole.items()


class _Multipart:
    """The upload's form, encoded by httpx, with the file as its last part.

    All files of a dialog share their fields but for the name, so the rest is encoded once; and
    a name in which nothing needs escaping takes the place of the one that was encoded for its
    extension. The boundary is random and known to nobody but the service.
    """

    def __init__(self, *, username: str, tenant_name: str) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.tail = f"\r\n--{boundary}--\r\n".encode()
        self._end = self.tail[2:]
        self._constant = {"mode": "1", "username": username, "tenant_name": tenant_name}
        self._shared = lru_cache(maxsize=64)(self._encode_shared)
        self._named_like = lru_cache(maxsize=64)(self._encode_named)

    def head(self, form: UploadForm) -> bytes:
        """Everything before the file's first byte."""
        return self._shared(replace(form, file_name="")) + self._named(clean_text(form.file_name))

    def _named(self, name: str) -> bytes:
        if (plain := _PLAIN_NAME.fullmatch(name)) is None:
            return self._encode_named(name)
        return self._named_like(_STEM + plain["extension"]).replace(
            _STEM.encode(), plain["stem"].encode()
        )

    def _encode_named(self, name: str) -> bytes:
        parts: _Parts = [("file_name", (None, name.encode())), ("file", (name, b""))]
        return self._encode(parts).removesuffix(self.tail)

    def _encode_shared(self, form: UploadForm) -> bytes:
        fields = self._constant | {
            "flow_uuid": form.flow_uuid,
            "extra_params": form.extra_params,
            "file_format": form.file_format,
            "parse_model": form.parse_model,
            "parse_prompt": form.parse_prompt,
        }
        if form.inputs is not None:
            fields["inputs"] = form.inputs
        parts: _Parts = [(key, (None, clean_text(value).encode())) for key, value in fields.items()]
        return self._encode(parts).removesuffix(self._end)

    def _encode(self, parts: _Parts) -> bytes:
        headers = {"Content-Type": self.content_type}
        return httpx.Request("POST", "http://form", headers=headers, files=parts).read()


class _Body(httpx.AsyncByteStream):
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
            raise SourceRejected("the file changed while it was read", code="unreadable")


def _nothing() -> None:
    """Nobody watches the progress."""


@asynccontextmanager
async def _watched(body: _Body) -> AsyncIterator[None]:
    """Give a call up when the service does not read on, which the transport would wait for."""
    clock = asyncio.get_running_loop().time
    async with asyncio.timeout(STALLED_AFTER) as stall:
        body.on_progress = lambda: stall.reschedule(clock() + STALLED_AFTER)
        yield


# --- replies -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answer:
    """A reply; `lost` names what went wrong when its body did not arrive in full."""

    status: int
    retry_after: float | None
    body: bytes
    lost: str | None = None

    def envelope(self) -> Envelope | EnvelopeError:
        if self.lost is not None:
            raise MalformedReply(f"it broke off ({self.lost})")
        return parse_envelope(self.body)

    def envelope_or_none(self) -> Envelope | EnvelopeError | None:
        try:
            return self.envelope()
        except MalformedReply:
            return None


async def _read(response: httpx.Response) -> _Answer:
    """Read a reply; a status that has arrived counts even when its body is lost."""
    status = response.status_code
    told = response.headers.get("Retry-After") if status in _BUSY else None
    wait = seconds_to_wait(told, time.time())
    try:
        answer = _Answer(status, wait, await _bounded(response))
    except FAILURES as error:
        answer = _Answer(status, wait, b"", lost=type(error).__name__)
    finally:
        with suppress(*FAILURES):
            await response.stream.aclose()  # type: ignore[union-attr]
    return answer


def _decoded(response: httpx.Response) -> AsyncIterator[bytes]:
    if "Content-Encoding" in response.headers:
        return response.aiter_bytes()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return aiter(response.stream)  # the same, without looking for something to decode


async def _bounded(response: httpx.Response) -> bytes:
    """The reply's body.

    Raises:
        httpx.DecodingError: it is larger than any reply should be.
        TimeoutError: it trickles in for longer than any reply should.
    """
    pieces: list[bytes] = []
    left = LARGEST_REPLY
    end = time.monotonic() + STALLED_AFTER
    async for piece in _decoded(response):
        if time.monotonic() > end:
            raise TimeoutError
        left -= len(piece)
        if left < 0:
            raise httpx.DecodingError(f"a reply of more than {LARGEST_REPLY} bytes")
        pieces.append(piece)
    return b"".join(pieces)


# --- errors --------------------------------------------------------------------------------------

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
