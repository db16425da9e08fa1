"""The simulated service's state: scenario, files, ids, capacity, and the replies all share."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, assert_never

from aiohttp import web

from worker.simulator.faults import Faults
from worker.simulator.ledger import Ledger, Upload
from worker.simulator.plans import Plans
from worker.simulator.scenario import (
    CodeFault,
    GarbageFault,
    HttpFault,
    ResetFault,
    Scenario,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.typedefs import LooseHeaders

    from worker.simulator.forms import FormParser
    from worker.simulator.frames import Script
    from worker.simulator.scenario import Flow

FIRST_FILE_ID = 100_001
FIRST_DIALOG_ID = 1_017_340_986_451_495_207  # beyond 2^53: floats can't tell neighbours apart

RequestFault = HttpFault | CodeFault | GarbageFault | ResetFault


class Bucket:
    """A token bucket of one second's burst."""

    def __init__(self, rate: float | None, now: float) -> None:
        self._rate = rate
        self._level = self._size = max(1.0, rate or 0.0)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one more call is within the rate."""
        if self._rate is None:
            return True
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


class Service:
    """One simulated service. Everything runs on one event loop, so nothing is locked."""

    def __init__(self, scenario: Scenario, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.sockets: set[web.WebSocketResponse] = set()
        self._next_file = FIRST_FILE_ID
        self._next_dialog = FIRST_DIALOG_ID
        self.ledger = Ledger(clock())
        self.load(scenario)

    def load(self, scenario: Scenario) -> None:
        """Behave by this scenario from now on; files taken before keep what they were given."""
        now = self.clock()
        self.scenario = scenario
        self.loaded_at = now
        self.plans = Plans(scenario)
        self.faults = Faults(scenario)
        self.scripts: dict[object, Script] = {}
        limits = scenario.limits
        self.dialog_rate = Bucket(limits.dialogs_per_second, now)
        self.upload_rate = Bucket(limits.uploads_per_second, now)
        self.status_rate = Bucket(limits.status_calls_per_second, now)
        self.success = b"0" if scenario.wire.code_as_integer else b'"000000"'
        self._flows = {flow.uuid: flow for flow in scenario.flows}

    def reset(self) -> None:
        """Forget files, counts and faults shown. Ids are never used again."""
        self.ledger = Ledger(self.clock())
        self.load(self.scenario)

    def summary(self) -> dict[str, Any]:
        """The ledger's summary, and how often each fault showed."""
        shown = [
            {"on": watch.fault.on, "do": watch.fault.do, "shown": watch.shown}
            for watch in self.faults.watches
        ]
        return self.ledger.summary(self.clock()) | {"faults": shown}

    def elapsed(self) -> float:
        """Seconds since the scenario was loaded."""
        return self.clock() - self.loaded_at

    def admits(self, key: str | None, token: str | None, username: str | None) -> bool:
        """Whether these are the credentials expected; a refusal is counted."""
        expected = self.scenario.credentials
        fits = (
            key == expected.robot_key
            and token == expected.robot_token
            and username == expected.username
        )
        if not fits:
            self.ledger.counts["credentials_refused"] += 1
        return fits

    def admits_headers(self, headers: Mapping[str, str]) -> bool:
        """Whether the three credential headers are right."""
        return self.admits(
            headers.get("cybertron-robot-key"),
            headers.get("cybertron-robot-token"),
            headers.get("username"),
        )

    def flow(self, uuid: str) -> Flow | None:
        """The flow with this id."""
        return self._flows.get(uuid)

    def flow_for(self, question: str) -> Flow | None:
        """The first flow that the question opens."""
        flows = self.scenario.flows
        return next((f for f in flows if not f.questions or question in f.questions), None)

    def next_dialog(self) -> int:
        """A dialog id of its own."""
        self._next_dialog += 1
        return self._next_dialog - 1

    def take(self, form: FormParser, fields: tuple[str | None, ...], sha256: str | None) -> Upload:
        """Take a file: from now on status calls know it."""
        name = form.fields.get("file_name", "")
        plan = self.plans.choose(name)
        scale = self.plans.time_to_ready(plan, name, sha256)
        upload = Upload(self._next_file, name, form.size, sha256, fields, self.clock(), plan, scale)
        upload.last_status = plan.first_status
        self._next_file += 1
        self.ledger.record(upload)
        return upload

    def number(self, value: int) -> bytes:
        """A number as the scenario's wire carries it."""
        return b'"%d"' % value if self.scenario.wire.numbers_as_strings else b"%d" % value


def reply(body: bytes, status: int = 200, headers: LooseHeaders | None = None) -> web.Response:
    """A JSON reply."""
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def envelope(code: str | int, message: str, status: int = 200) -> web.Response:
    """An envelope without data."""
    return reply(json.dumps({"code": code, "message": message, "data": None}).encode(), status)


def busy(retry_after: float | str | None, status: int = 429) -> web.Response:
    """An HTTP error that may say when to come back."""
    headers = None if retry_after is None else {"Retry-After": _seconds(retry_after)}
    body = json.dumps({"code": f"400{status}", "message": "try later", "data": None})
    return reply(body.encode(), status, headers)


def refused_credentials(service: Service) -> web.Response:
    """The door."""
    return envelope("400401", "credentials refused", service.scenario.credentials.refuse_status)


def misbehave(request: web.BaseRequest, fault: RequestFault) -> web.Response:
    """Answer, or don't, as a fault prescribes."""
    match fault:
        case HttpFault():
            return busy(fault.retry_after, fault.status)
        case CodeFault():
            return envelope(fault.code, fault.message)
        case GarbageFault():
            return web.Response(text=fault.body, content_type="text/html")
        case ResetFault():
            reset(request)
            return web.Response()
        case _:
            assert_never(fault)


def reset(request: web.BaseRequest) -> None:
    """Break the connection with a TCP reset, so that the peer can't take it for an orderly end."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _seconds(retry_after: float | str) -> str:
    return retry_after if isinstance(retry_after, str) else f"{retry_after:g}"
