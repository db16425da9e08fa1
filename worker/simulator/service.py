"""The simulated service's state: scenario, files, ids, capacity, and the replies all share."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, assert_never

from aiohttp import web

from worker.simulator.faults import Faults
from worker.simulator.ledger import Ledger, ReceivedUpload
from worker.simulator.mishaps import CodeFault, GarbageFault, HttpFault, RedirectFault, ResetFault
from worker.simulator.plans import Plans
from worker.simulator.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.typedefs import LooseHeaders

    from worker.simulator.forms import FormParser
    from worker.simulator.frames import Script
    from worker.simulator.offers import Flow

FIRST_FILE_ID = 100_001
FIRST_DIALOG_ID = 1_017_340_986_451_495_207  # beyond 2^53: floats can't tell neighbours apart

RequestFault = HttpFault | CodeFault | RedirectFault | GarbageFault | ResetFault


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


class SimulatedService:
    """One simulated service. Everything runs on one event loop, so nothing is locked."""

    def __init__(
        self,
        scenario: Scenario,
        clock: Callable[[], float] = time.time,
        *,
        always_strict: bool = False,
    ) -> None:
        self.clock = clock
        self._always_strict = always_strict
        self.sockets: set[web.WebSocketResponse] = set()
        self._next_file = FIRST_FILE_ID
        self._next_dialog = FIRST_DIALOG_ID
        self.ledger = Ledger(clock())
        self.load(scenario)

    def load(self, scenario: Scenario) -> None:
        """Behave by this scenario from now on; files taken before keep what they were given."""
        now = self.clock()
        self.scenario = scenario
        self.strict = scenario.strict or self._always_strict
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

    def admits_body(self, body: Mapping[str, Any]) -> bool:
        """Whether a question's three credentials are right; hyphens may stand in their names."""
        key, token = "cybertron_robot_key", "cybertron_robot_token"
        return self.admits(self._either(body, key), self._either(body, token), body.get("username"))

    def _either(self, body: Mapping[str, Any], name: str) -> Any:
        return body.get(name, None if self.strict else body.get(name.replace("_", "-")))

    def admits_handshake(self, headers: Mapping[str, str]) -> bool:
        """Whether the handshake's headers are right; a client that sends none is known later."""
        names = ("cybertron-robot-key", "cybertron-robot-token")
        if not self.strict and not any(name in headers for name in names):
            return True
        key, token = (headers.get(name) for name in names)
        # The user's name is asked for in the body only.
        return self.admits(key, token, headers.get("username", self.scenario.credentials.username))

    def admits_headers(self, headers: Mapping[str, str]) -> bool:
        """Whether the three credential headers are right.

        The user's name is described as a header in one place and as a field in another, so only
        the strict service misses it here.
        """
        username = headers.get("username")
        if username is None and not self.strict:
            username = self.scenario.credentials.username
        return self.admits(
            headers.get("cybertron-robot-key"), headers.get("cybertron-robot-token"), username
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

    def take(
        self, form: FormParser, fields: tuple[str | None, ...], sha256: str | None
    ) -> ReceivedUpload:
        """Take a file: from now on status calls know it."""
        name = form.fields.get("file_name", "")
        plan = self.plans.choose(name)
        scale = self.plans.time_to_ready(plan, name, sha256)
        upload = ReceivedUpload(
            self._next_file, name, form.size, sha256, fields, self.clock(), plan, scale
        )
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


def refused_credentials(service: SimulatedService) -> web.Response:
    """The reply to wrong credentials: envelope 400401 with the scenario's HTTP status."""
    return envelope("400401", "credentials refused", service.scenario.credentials.refuse_status)


def misbehave(request: web.BaseRequest, fault: RequestFault) -> web.Response:
    """Answer, or don't, as a fault prescribes."""
    match fault:
        case HttpFault():
            return busy(fault.retry_after, fault.status)
        case CodeFault():
            return envelope(fault.code, fault.message)
        case RedirectFault():
            return web.Response(status=fault.status, headers={"Location": fault.location})
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
