"""The web server around the service, and the ways to run it: in a loop, in a thread, for ever."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import tomllib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web
from anyio.from_thread import start_blocking_portal

from worker.errors import ConfigurationError
from worker.simulator import dialog, statuses, uploads
from worker.simulator.listening import Listener
from worker.simulator.replay import Replay
from worker.simulator.scenario import check_scenario, load_scenario
from worker.simulator.service import SimulatedService, envelope, reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from worker.simulator.scenario import ScenarioSource

    Handler = Callable[[SimulatedService, web.BaseRequest], Awaitable[web.StreamResponse]]

DIALOG_PATH = "/openapi/v2/ws/dialog/"
FORMER_DIALOG_PATH = "/openapi/v1/ws/dialog/"
UPLOAD_PATH = "/openapi/v1/chatflow/offline_upload_file/"
STATUS_PATH = "/openapi/v1/chatflow/get_offline_file_status/"


async def _ledger(service: SimulatedService, request: web.BaseRequest) -> web.StreamResponse:
    return reply(json.dumps(service.ledger.whole(contents=_with_contents(request))).encode())


async def _ledger_lines(service: SimulatedService, request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    for lines in service.ledger.lines(contents=_with_contents(request)):
        await response.write(lines)
    await response.write_eof()
    return response


def _with_contents(request: web.BaseRequest) -> bool:
    return request.rel_url.query.get("contents") != "no"


async def _summary(service: SimulatedService, _request: web.BaseRequest) -> web.StreamResponse:
    return reply(json.dumps(service.summary()).encode())


async def _reset(service: SimulatedService, _request: web.BaseRequest) -> web.StreamResponse:
    service.reset()
    return reply(b"{}")


async def _new_scenario(service: SimulatedService, request: web.BaseRequest) -> web.StreamResponse:
    text = (await request.read()).decode(errors="replace")
    try:
        service.load(check_scenario(_parsed(text, request.content_type)))
    except ConfigurationError as error:
        return reply(json.dumps({"errors": error.faults}).encode(), 422)
    return reply(b"{}")


def _parsed(text: str, content_type: str) -> dict[str, Any]:
    try:
        if content_type != "application/json":
            return tomllib.loads(text)
        tables = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"scenario: {error}") from error
    if not isinstance(tables, dict):
        raise ConfigurationError("scenario: must be an object")
    return tables


ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", STATUS_PATH): statuses.tell,
    ("POST", UPLOAD_PATH): uploads.receive,
    ("GET", DIALOG_PATH): dialog.talk,
    ("GET", "/_simulator/ledger"): _ledger,
    ("GET", "/_simulator/ledger.jsonl"): _ledger_lines,
    ("GET", "/_simulator/summary"): _summary,
    ("POST", "/_simulator/reset"): _reset,
    ("POST", "/_simulator/scenario"): _new_scenario,
}

LENIENT_ROUTES = (
    ROUTES
    | {("GET", FORMER_DIALOG_PATH): dialog.talk}
    | {
        (method, path.rstrip("/")): handler
        for (method, path), handler in (*ROUTES.items(), (("GET", FORMER_DIALOG_PATH), dialog.talk))
    }
)
"""Also the dialog's former address, and every address without the slash at its end."""


class Simulator(Listener):
    """The simulator on the running event loop, as an async context manager.

    Args:
        scenario: a `Scenario`, a TOML file's `Path`, TOML text, a dictionary, or None.
        host: the address to listen on.
        port: 0 takes a free one.
        clock: POSIX seconds; a test's own clock makes files ready without waiting.
        strict: insist on all that the documents ask for, whatever the scenario says.

    Raises:
        ConfigurationError: the scenario is wrong, or the address can't be listened on.
    """

    def __init__(
        self,
        scenario: ScenarioSource = None,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__(host, port)
        self.service = SimulatedService(load_scenario(scenario), clock, always_strict=strict)
        self.sockets = self.service.sockets

    def ledger(self, *, contents: bool = True) -> dict[str, Any]:
        """The ledger as `GET /_simulator/ledger` gives it."""
        return self.service.ledger.whole(contents=contents)

    def summary(self) -> dict[str, Any]:
        """The summary as `GET /_simulator/summary` gives it."""
        return self.service.summary()

    def set_scenario(self, scenario: ScenarioSource) -> None:
        """Behave by another scenario from now on; files taken before keep theirs.

        Raises:
            ConfigurationError: the scenario is wrong; nothing has changed then.
        """
        self.service.load(load_scenario(scenario))

    def reset(self) -> None:
        """Forget every file and count."""
        self.service.reset()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        routes = ROUTES if self.service.strict else LENIENT_ROUTES
        handler = routes.get((request.method, path))
        if handler is not None:
            return await handler(self.service, request)
        if any(path == known for _, known in routes):
            return envelope("400405", "method not allowed", 405)
        return envelope("400404", "no such address", 404)


class RunningSimulator:
    """A simulator in a thread of its own; every method may be called from any other thread."""

    def __init__(self, portal: BlockingPortal, simulator: Simulator) -> None:
        self._portal = portal
        self._simulator = simulator

    @property
    def url(self) -> str:
        """The base address."""
        return self._simulator.url

    def ledger(self, *, contents: bool = True) -> dict[str, Any]:
        """See `Simulator.ledger`."""
        return self._portal.call(lambda: self._simulator.ledger(contents=contents))

    def summary(self) -> dict[str, Any]:
        """See `Simulator.summary`."""
        return self._portal.call(self._simulator.summary)

    def set_scenario(self, scenario: ScenarioSource) -> None:
        """See `Simulator.set_scenario`."""
        self._portal.call(self._simulator.set_scenario, scenario)

    def reset(self) -> None:
        """See `Simulator.reset`."""
        self._portal.call(self._simulator.reset)


@contextmanager
def running(
    scenario: ScenarioSource = None,
    port: int = 0,
    host: str = "127.0.0.1",
    clock: Callable[[], float] = time.time,
    *,
    strict: bool = False,
) -> Iterator[RunningSimulator]:
    """Run a simulator in a thread of its own, for synchronous code and tests.

    Raises:
        ConfigurationError: the scenario is wrong, or the address can't be listened on.
    """
    simulator = Simulator(scenario, host, port, clock, strict=strict)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(simulator),
    ):
        yield RunningSimulator(portal, simulator)


def serve(
    host: str,
    port: int,
    scenario_path: Path | None,
    ready: Callable[[str], None],
    *,
    strict: bool = False,
) -> None:
    """Run a simulator until SIGINT or SIGTERM; `ready` gets its address once it listens.

    Raises:
        ConfigurationError: the scenario is wrong, or the address can't be listened on.
    """
    serve_until_stopped(Simulator(scenario_path, host, port, strict=strict), ready)


def serve_until_stopped(listener: Listener, ready: Callable[[str], None]) -> None:
    """Run a simulator or a replay until SIGINT or SIGTERM; `ready` gets its address.

    Raises:
        ConfigurationError: the address can't be listened on.
    """
    asyncio.run(_serve(listener, ready))


async def _serve(listener: Listener, ready: Callable[[str], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
            loop.add_signal_handler(number, stopped.set)
    async with listener:
        ready(listener.url)
        await stopped.wait()


@contextmanager
def replaying(recording: Path, port: int = 0, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve a recording in a thread of its own; gives its address.

    Raises:
        ConfigurationError: it can't be read, or the address can't be listened on.
    """
    replay = Replay(recording, host, port)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(replay):
        yield replay.url
