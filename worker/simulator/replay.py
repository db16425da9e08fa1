"""Serves what `doctor --record` kept: the same frames and replies, in the same order.

Whoever asks gets them; credentials and forms are not looked at. Ids of dialogs and files are
fresh for each, the n-th status call about a file gets the n-th reply that was recorded (then the
last again), and pauses are as they were, but a second at most.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from worker.core.messages import STATUS_PATH, UPLOAD_PATH
from worker.core.recording import BULK_PATH, NoRecording, read
from worker.errors import ConfigurationError
from worker.simulator.listening import Listener
from worker.simulator.service import envelope, reply, reset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

Event = dict[str, Any]

LONGEST_PAUSE = 1.0
"""Seconds; longer pauses of the recording are not waited for."""
PONG = json.dumps({"code": "000000", "message": "success", "type": "heartbeat", "data": "pong"})
FIRST_ID = 500_001
NOTHING = ("400404", "the recording has no reply to this call")
_HANDSHAKE_DONE = 101


@dataclass(slots=True)
class Recorded:
    """A recording by what it answers.

    Attributes:
        handshake: the HTTP status that the handshake was answered with.
        rounds: of the dialog: what followed each question, in order.
        uploads: replies to uploads; `statuses`: to status calls; `bulk`: to the bulk call.
    """

    handshake: int = _HANDSHAKE_DONE
    rounds: list[list[Event]] = field(default_factory=list)
    uploads: list[Event] = field(default_factory=list)
    statuses: list[Event] = field(default_factory=list)
    bulk: list[Event] = field(default_factory=list)


def load(path: Path) -> Recorded:
    """Read a recording.

    Raises:
        ConfigurationError: it can't be read, or is none.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            _, events = read(lines)
    except (OSError, UnicodeDecodeError, NoRecording) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    found = Recorded()
    before = 0.0
    for event in events:
        at = float(event.get("at", before))
        _sort(found, event | {"pause": min(max(at - before, 0.0), LONGEST_PAUSE)})
        before = at
    return found


def _sort(found: Recorded, event: Event) -> None:
    match event["on"], event["do"]:
        case "dialog", "opened":
            found.handshake = event.get("status", _HANDSHAKE_DONE)
        case "dialog", "sent":
            if not _is_heartbeat(event):
                found.rounds.append([])
        case "dialog", "received" | "closed":
            if found.rounds and not _is_heartbeat(event):
                found.rounds[-1].append(event)
        case "upload", "received" | "failed":
            found.uploads.append(event)
        case "status", "received" | "failed":
            found.statuses.append(event)
        case "bulk", "received" | "failed":
            found.bulk.append(event)
        case _:
            return


def _is_heartbeat(event: Event) -> bool:
    value = event.get("json")
    return isinstance(value, dict) and value.get("type") == "heartbeat"


class Replay(Listener):
    """A recording on the running event loop, as an async context manager.

    Raises:
        ConfigurationError: the recording can't be read, or the address can't be listened on.
    """

    def __init__(self, recording: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(host, port)
        self._recorded = load(recording)
        self._ids = count(FIRST_ID)
        self._uploads = 0
        self._polls: Counter[str] = Counter()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.rstrip("/") + "/"
        if path.endswith("/ws/dialog/"):
            return await self._dialog(request)
        if path == UPLOAD_PATH:
            return await self._upload(request)
        if path == STATUS_PATH:
            return await self._status(request)
        if path == BULK_PATH:
            return await self._answer(request, self._recorded.bulk, 0, lambda value: value)
        return envelope("400404", "no such address", 404)

    # --- the dialog ------------------------------------------------------------------------------

    async def _dialog(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._recorded.handshake != _HANDSHAKE_DONE:
            return envelope("400404", "as recorded", self._recorded.handshake)
        socket = web.WebSocketResponse(compress=False, timeout=2)
        await socket.prepare(request)
        self.sockets.add(socket)
        rounds: Counter[str] = Counter()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    with suppress(ConnectionError):
                        await self._hear(socket, _object(message.data), rounds)
        finally:
            self.sockets.discard(socket)
        return socket

    async def _hear(
        self, socket: web.WebSocketResponse, question: Event, rounds: Counter[str]
    ) -> None:
        if question.get("type") == "heartbeat":
            await socket.send_str(PONG)
            return
        segment = str(question.get("segment_code"))
        turn = rounds[segment]
        rounds[segment] += 1
        if turn < len(self._recorded.rounds):
            dialog = next(self._ids)
            for event in self._recorded.rounds[turn]:
                await asyncio.sleep(event["pause"])
                await _play(socket, event, dialog)

    # --- the calls -------------------------------------------------------------------------------

    async def _upload(self, request: web.BaseRequest) -> web.StreamResponse:
        async for _ in request.content.iter_any():
            pass
        file_id = next(self._ids)
        self._uploads += 1
        answers = self._recorded.uploads
        return await self._answer(
            request, answers, self._uploads - 1, lambda value: _with_id(value, "id", file_id)
        )

    async def _status(self, request: web.BaseRequest) -> web.StreamResponse:
        file_id = request.query.get("file_id", "")
        turn = self._polls[file_id]
        self._polls[file_id] += 1
        number = int(file_id) if file_id.isdecimal() else file_id
        return await self._answer(
            request,
            self._recorded.statuses,
            turn,
            lambda value: _with_id(value, "file_id", number),
        )

    async def _answer(
        self,
        request: web.BaseRequest,
        answers: Sequence[Event],
        turn: int,
        change: Callable[[Any], Any],
    ) -> web.StreamResponse:
        """The reply whose turn it is, or the last one again."""
        if not answers:
            return envelope(*NOTHING)
        event = answers[min(turn, len(answers) - 1)]
        await asyncio.sleep(event["pause"])
        if event["do"] == "failed":
            reset(request)
            return web.Response()
        status = event.get("status", 200)
        if "json" not in event:
            return web.Response(text=event.get("text", ""), status=status)
        location = event.get("headers", {}).get("location")
        headers = None if location is None else {"Location": location}
        return reply(json.dumps(change(event["json"])).encode(), status, headers)


async def _play(socket: web.WebSocketResponse, event: Event, dialog: int) -> None:
    if event["do"] == "closed":
        await socket.close(code=event.get("code") or 1011, message=b"as recorded", drain=True)
    elif "bytes" in event:
        await socket.send_bytes(bytes(event["bytes"]))
    elif "json" in event:
        old = set(map(str, _dialog_ids(event["json"])))
        await socket.send_str(json.dumps(_renumbered(event["json"], old, dialog)))
    else:
        await socket.send_str(event.get("text", ""))


def _dialog_ids(value: Any) -> Iterator[int | str]:
    match value:
        case dict():
            for key, item in value.items():
                if key == "dialog_id" and isinstance(item, int | str) and item:
                    yield item
                else:
                    yield from _dialog_ids(item)
        case list():
            for item in value:
                yield from _dialog_ids(item)
        case _:
            return


def _renumbered(value: Any, old: set[str], new: int) -> Any:
    """The value with another dialog id, in whatever type and wherever it stands."""
    match value:
        case dict():
            return {key: _renumbered(item, old, new) for key, item in value.items()}
        case list():
            return [_renumbered(item, old, new) for item in value]
        case bool():
            return value
        case int() if str(value) in old:
            return new
        case str() if value in old:
            return str(new)
        case _:
            return value


def _with_id(value: Any, name: str, new: int | str) -> Any:
    """The envelope with another file id in its data, a text where it was one."""
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, dict) or name not in data:
        return value
    as_text = isinstance(data[name], str)
    return value | {"data": data | {name: str(new) if as_text else new}}


def _object(text: str) -> Event:
    with suppress(ValueError, RecursionError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    return {}
