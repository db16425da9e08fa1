"""The dialog's websocket: many conversations on one connection."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import WSMsgType, web

from worker.simulator import detours, frames
from worker.simulator.mishaps import (
    CloseFault,
    CodeFault,
    ErrorTextFault,
    GarbageFault,
    HttpFault,
    NoUploadNodeFault,
    RedirectFault,
    ResetFault,
    SilenceFault,
)
from worker.simulator.service import busy, misbehave, refused_credentials, reset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.simulator.faults import Trouble
    from worker.simulator.frames import Filler, Script
    from worker.simulator.offers import Flow
    from worker.simulator.service import SimulatedService

MAX_MESSAGE = 4 * 1024 * 1024
PONG = json.dumps({"code": "000000", "message": "success", "type": "heartbeat", "data": "pong"})
UNKNOWN_QUESTION = "I have no answer to that."


async def talk(service: SimulatedService, request: web.BaseRequest) -> web.StreamResponse:
    """Serve one connection from handshake to close."""
    refusal = await _handshake_refusal(service, request)
    if refusal is not None:
        return refusal
    # Compressing would cost the stand-in more than everything else it does.
    socket = web.WebSocketResponse(compress=False, max_msg_size=MAX_MESSAGE, timeout=2)
    await socket.prepare(request)
    ledger = service.ledger
    service.sockets.add(socket)
    ledger.counts["connections"] += 1
    ledger.connections_open += 1
    ledger.connections_open_max = max(ledger.connections_open_max, ledger.connections_open)
    try:
        await SimulatedConnection(service, request, socket).serve()
    finally:
        ledger.connections_open -= 1
        service.sockets.discard(socket)
    return socket


async def _handshake_refusal(
    service: SimulatedService, request: web.BaseRequest
) -> web.StreamResponse | None:
    trouble = service.faults.meet("handshake", service.elapsed())
    if trouble.delay:
        await asyncio.sleep(trouble.delay)
    if isinstance(trouble.fault, HttpFault | RedirectFault | ResetFault):
        return misbehave(request, trouble.fault)
    at_the_door = service.scenario.credentials.refuse_dialog == "handshake"
    if at_the_door and not service.admits_handshake(request.headers):
        return refused_credentials(service)
    if not service.dialog_rate.take(service.clock()):
        service.ledger.counts["dialogs_throttled"] += 1
        return busy(service.scenario.limits.retry_after)
    return None


class _Jumped(NamedTuple):
    """Where a conversation's flow handed over to, and how often it has."""

    target: Flow
    jumps: int


class SimulatedConnection:
    """One websocket connection. Each question starts a conversation; heartbeats are answered."""

    def __init__(
        self, service: SimulatedService, request: web.BaseRequest, socket: web.WebSocketResponse
    ) -> None:
        self._service = service
        self._request = request
        self._socket = socket
        self._heartbeats = True
        self._conversations: set[asyncio.Task[None]] = set()
        self._jumped: dict[str, _Jumped] = {}

    async def serve(self) -> None:
        """Read until the connection closes."""
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._heard(message.data)
        finally:
            for conversation in tuple(self._conversations):
                conversation.cancel()
            await asyncio.gather(*self._conversations, return_exceptions=True)

    async def _heard(self, text: str) -> None:
        body = _object(text)
        if body.get("type") == "heartbeat":
            self._service.ledger.counts["heartbeats"] += 1
            if self._heartbeats:
                await self._socket.send_str(PONG)
            return
        # A task of its own, so that heartbeats are answered while the reply is slow.
        conversation = asyncio.create_task(self._converse(body))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, body: dict[str, Any]) -> None:
        with suppress(ConnectionError):  # the client has gone; reading ends by itself
            await self._reply(body)

    async def _reply(self, body: dict[str, Any]) -> None:
        service = self._service
        service.ledger.counts["dialogs"] += 1
        filler = frames.Filler(service.next_dialog())
        objection = self._objection(body)
        if objection is not None:
            await self._say(filler, (frames.error_frame(*objection),))
            return
        trouble = service.faults.meet("dialog", service.elapsed())
        if trouble.delay:
            await asyncio.sleep(trouble.delay)
        flow = self._flow(body)
        if flow is None:
            await self._not_understood(filler, direct=_is_direct(body))
        elif (detour := self._detour(body, flow)) is not None:
            await self._say(filler, detour)
        else:
            await self._play(filler, flow, trouble)

    def _objection(self, body: dict[str, Any]) -> tuple[str, str] | None:
        if not self._service.admits_body(body):
            return "400401", "credentials refused"
        needed = ["segment_code", "message_source"] if self._service.strict else []
        if not _is_direct(body) and self._former_jump(body) is None:
            needed.append("question")
        missing = [name for name in needed if not isinstance(body.get(name), str) or not body[name]]
        return ("400001", f"missing: {', '.join(missing)}") if missing else None

    def _flow(self, body: dict[str, Any]) -> Flow | None:
        if _is_direct(body):
            return self._service.flow(str(body.get("open_flow_uuid")))
        former = self._former_jump(body)
        if former is not None and not body.get("question"):
            return former.target if self._service.scenario.jump == "empty_question" else None
        return self._service.flow_for(body["question"])

    def _former_jump(self, body: dict[str, Any]) -> _Jumped | None:
        return self._jumped.get(str(body.get("segment_code")))

    def _detour(self, body: dict[str, Any], flow: Flow) -> tuple[str, ...] | None:
        """What is said instead of offering the upload, if the scenario has such a habit."""
        scenario = self._service.scenario
        if scenario.chats:
            return detours.small_talk(scenario)
        if scenario.waits_for_input:
            return detours.asking_back(scenario, flow)
        former = self._former_jump(body)
        jumps = 0 if former is None else former.jumps
        follows = former is not None or not _is_direct(body)
        if scenario.jump is None or jumps >= scenario.jumps or not follows:
            return None
        self._jumped[str(body.get("segment_code"))] = _Jumped(flow, jumps + 1)
        return detours.jump(scenario, flow)

    async def _not_understood(self, filler: Filler, *, direct: bool) -> None:
        if direct:
            await self._say(filler, (frames.error_frame("400002", "open_flow_uuid is unknown"),))
            return
        text = frames.text_frame(UNKNOWN_QUESTION, finish="y")
        await self._say(
            filler, (*frames.accepted(self._service.scenario), text, _round_over(self._any_flow()))
        )

    def _any_flow(self) -> Flow:
        return self._service.scenario.flows[0]

    async def _play(self, filler: Filler, flow: Flow, trouble: Trouble) -> None:
        script = self._script(flow, trouble.limits)
        match trouble.fault:
            case None:
                await self._offer(filler, script)
            case CodeFault(code=code, message=message, inside=inside):
                error = frames.error_frame(code, message, inside=inside)
                await self._say(filler, (*script.opening[:2], error))
            case GarbageFault(body=body):
                await self._say(filler, (*script.opening[:2], body))
            case ErrorTextFault(text=text):
                spoken = frames.text_frame(text, finish="y")
                await self._say(filler, (*script.opening[:5], spoken, _round_over(flow)))
            case NoUploadNodeFault(code=code):
                end = frames.flow_frame(flow, code, node=frames.FORMER_NODE)
                await self._say(filler, (*script.opening, end))
            case CloseFault() | ResetFault() | SilenceFault() as fault:
                await self._say(filler, (*script.opening, script.upload)[: fault.after_frames])
                await self._fall_silent(fault)
            case _:
                raise AssertionError(trouble.fault)  # the scenario's checks let no other in

    async def _fall_silent(self, fault: CloseFault | ResetFault | SilenceFault) -> None:
        match fault:
            case CloseFault(code=code, reason=reason):
                await self._socket.close(code=code, message=reason.encode(), drain=True)
            case ResetFault():
                reset(self._request)
            case SilenceFault(heartbeat=heartbeat):
                self._heartbeats = heartbeat

    async def _offer(self, filler: Filler, script: Script) -> None:
        ledger = self._service.ledger
        await self._say(filler, script.opening)
        ledger.counts["upload_nodes"] += 1
        for variable, places in script.places:
            ledger.places[variable] += places
        await self._say(filler, (script.upload, *script.trailing))

    async def _say(self, filler: Filler, templates: Sequence[str]) -> None:
        if self._service.scenario.noise_frames:
            await self._make_noise()
        for template in templates:
            await self._socket.send_str(filler.fill(template))

    async def _make_noise(self) -> None:
        for noise in detours.NOISE:
            if isinstance(noise, bytes):
                await self._socket.send_bytes(noise)
            else:
                await self._socket.send_str(noise)

    def _script(self, flow: Flow, limits: tuple[tuple[str, int], ...]) -> Script:
        scripts = self._service.scripts
        key = (flow.uuid, limits)
        if key not in scripts:
            changed = dict(limits)
            scenario = self._service.scenario
            categories = [
                category.model_copy(
                    update={"upload_max_num": changed.get(category.name, category.upload_max_num)}
                )
                for category in scenario.categories_of(flow)
            ]
            scripts[key] = frames.script(flow, categories, scenario)
        return scripts[key]


def _round_over(flow: Flow) -> str:
    return frames.flow_frame(flow, "002005", node=frames.FORMER_NODE)


def _is_direct(body: dict[str, Any]) -> bool:
    return body.get("open_flow_trigger") == "direct"


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
