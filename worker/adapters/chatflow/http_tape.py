"""Uploads and status calls on a tape: a transport around the one that does the work."""

from __future__ import annotations

import json

import httpx2 as httpx

from worker.adapters.chatflow.tape import Tape
from worker.core.messages import STATUS_PATH, UPLOAD_PATH, credential_headers
from worker.core.model.wire import Credentials
from worker.core.recording import BULK_PATH, telling_headers

_CALLS = {UPLOAD_PATH: "upload", STATUS_PATH: "status", BULK_PATH: "bulk"}
_BULK_LIMITS = {"timeout": {"connect": 10.0, "pool": 30.0, "write": 30.0, "read": 30.0}}


class TapedTransport(httpx.AsyncBaseTransport):
    """A transport whose requests and replies are kept; it needs another that does the work."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._inner: httpx.AsyncBaseTransport = httpx.AsyncBaseTransport()

    def around(self, inner: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """This transport, with that one behind it."""
        self._inner = inner
        return self

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on, and write down what comes of it."""
        path, _, query = str(request.url).partition("?")
        on = next((name for end, name in _CALLS.items() if path.endswith(end)), "other")
        if on != "upload":  # whose form is written down by whoever made it
            self._tape.note(on, "sent", method=request.method, query=query)
        try:
            response = await self._inner.handle_async_request(request)
            content = await response.aread()
        except Exception as error:
            self._tape.note(on, "failed", error=type(error).__name__)
            raise
        await response.aclose()
        headers = telling_headers(response.headers.items())
        self._tape.message(on, "received", content, status=response.status_code, headers=headers)
        kept = [(k, v) for k, v in response.headers.items() if k.lower() not in _OF_THE_WIRE]
        return httpx.Response(response.status_code, headers=kept, stream=httpx.ByteStream(content))

    async def aclose(self) -> None:
        """Close what is behind it."""
        await self._inner.aclose()

    async def ask_bulk(self, base_url: str, credentials: Credentials, file_id: str) -> None:
        """Try the online channel's bulk call for one file; what it says is written down."""
        number: int | str = int(file_id) if file_id.isdecimal() else file_id
        request = httpx.Request(
            "POST",
            base_url.rstrip("/") + BULK_PATH,
            headers={
                name: value.encode().decode("latin-1")
                for name, value in credential_headers(credentials).items()
            }
            | {"Content-Type": "application/json"},
            content=json.dumps({"file_ids": [number]}).encode(),
            extensions=_BULK_LIMITS,
        )
        try:
            await self.handle_async_request(request)
        except (httpx.HTTPError, OSError):
            return  # written down


_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})
