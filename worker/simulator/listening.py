"""A web server on an address, as an async context manager: what the stand-ins have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from aiohttp import WSCloseCode, web

from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Listener(ABC):
    """Listens on an address while it is entered.

    Attributes:
        sockets: websockets to be closed at the end.
    """

    def __init__(self, host: str, port: int) -> None:
        self.sockets: set[web.WebSocketResponse] = set()
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """The base address, `http://host:port`; the websocket's begins with `ws`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @abstractmethod
    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""

    async def __aenter__(self) -> Self:
        # No router, middleware or access log: the stand-in shares the machine with what it tests.
        server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await self._listen(self._runner)
        except ConfigurationError:
            await self._runner.cleanup()
            raise
        return self

    async def _listen(self, runner: web.ServerRunner) -> None:
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            where = f"{self._host}:{self._port}"
            raise ConfigurationError(f"simulator: can't listen on {where}: {error}") from error
        self._port = runner.addresses[0][1]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        closing = (socket.close(code=WSCloseCode.GOING_AWAY) for socket in tuple(self.sockets))
        await asyncio.gather(*closing, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
