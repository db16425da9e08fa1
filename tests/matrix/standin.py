"""A service on raw sockets that keeps to the protocol, except where a cell says otherwise."""

import asyncio
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from anyio.from_thread import start_blocking_portal
from websockets.frames import Frame
from websockets.utils import accept_key

from tests.matrix.faults import (
    GOOD,
    SETTLED,
    UPLOADED,
    Again,
    Bytes,
    Early,
    End,
    Fault,
    Raw,
    Reply,
    Step,
    Talk,
    Text,
    Then,
    Wait,
)

LARGEST_PIECE = 64 * 1024
_FIELD = re.compile(rb'name="(file_name|flow_uuid)"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)\r\n')


class _Over(Exception):
    """The connection has no further use."""


@dataclass
class Call:
    """One request, as far as it was read."""

    path: str
    headers: dict[str, str]
    query: dict[str, list[str]]
    body: bytes = b""
    names: dict[str, str] = field(default_factory=dict)


@dataclass
class StandIn:
    """The service; a test says what goes wrong and reads what it saw.

    `dialog` gives the fault of the next dialog with its name, None for a good one; `upload` and
    `status` that of the nth call for a file.
    """

    dialog: Callable[[int], tuple[str, Fault] | None] = lambda _: None
    upload: Callable[[str, int], Fault | None] = lambda *_: None
    status: Callable[[str, int], Fault | None] = lambda *_: None
    dialogs: int = 0
    uploads: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    flows: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                await self._answer(await _request(reader), reader, writer)
        except (_Over, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _answer(
        self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if "ws/dialog" in call.path:
            await self._dialog(call, reader, writer)
        elif "offline_upload_file" in call.path:
            await self._upload(call, reader, writer)
        elif "get_offline_file_status" in call.path:
            await self._status(call, writer)
        else:
            self.surprises.append(call.path)
            raise _Over

    # --- calls ---

    async def _upload(
        self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        length = int(call.headers["content-length"])
        while len(call.body) < length and b'name="file"' not in call.body:
            call.body += await _some(reader, length - len(call.body))
        fields = dict(_FIELD.findall(call.body))
        name = fields[b"file_name"].decode()
        self.uploads[name] += 1
        self.flows[name] = fields[b"flow_uuid"].decode()
        fault = self.upload(name, self.uploads[name])
        if isinstance(fault, Early):
            await _finish(writer, fault.then)
        left = length - len(call.body)
        while left > 0:
            left -= len(await _some(reader, left))
        number = str(1000 + len(self.files))
        self.files[number] = name
        call.names = {"@ID@": number, "@FILE@": name}
        await _reply(writer, fault or UPLOADED, call)

    async def _status(self, call: Call, writer: asyncio.StreamWriter) -> None:
        number = call.query["file_id"][0]
        name = self.files.get(number, "")
        self.asked[name] += 1
        call.names = {"@ID@": number, "@FILE@": name}
        await _reply(writer, self.status(name, self.asked[name]) or SETTLED, call)

    async def _dialog(
        self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.dialogs += 1
        name, fault = self.dialog(self.dialogs) or ("good", GOOD)
        call.names = {"@FLOW@": name}
        if not isinstance(fault, Talk):
            await _reply(writer, fault, call)
            return
        key = call.headers["sec-websocket-key"]
        answer = (fault.accept or accept_key)(key)
        headers = (("Upgrade", "websocket"), ("Connection", "Upgrade"), *fault.headers)
        head = _head(101, (*headers, ("Sec-WebSocket-Accept", answer)))
        writer.write(head)
        if fault.hears:
            await _question(reader)
        for step in fault.steps:
            await _act(writer, step, name)
        await _drained(reader)


# --- reading --------------------------------------------------------------------------------------


async def _request(reader: asyncio.StreamReader) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    parts = urlsplit(line.split(" ")[1])
    return Call(parts.path, headers, parse_qs(parts.query))


async def _some(reader: asyncio.StreamReader, most: int) -> bytes:
    piece = await reader.read(min(most, LARGEST_PIECE))
    if not piece:
        raise _Over
    return piece


async def _question(reader: asyncio.StreamReader) -> None:
    """Read one masked frame of the client."""
    head = await reader.readexactly(2)
    length = head[1] & 0x7F
    if length > 125:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    await reader.readexactly(4 + length)


async def _drained(reader: asyncio.StreamReader) -> None:
    """Hear nothing any more until the client is gone."""
    while await reader.read(LARGEST_PIECE):
        pass
    raise _Over


# --- answering ------------------------------------------------------------------------------------


def _head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Odd"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("utf-8")


def _named(text: bytes, call: Call) -> bytes:
    for mark, name in call.names.items():
        text = text.replace(mark.encode(), name.encode())
    return text


async def _reply(writer: asyncio.StreamWriter, fault: Fault, call: Call) -> None:
    match fault:
        case Raw(said, then):
            writer.write(_named(said, call))
            await _finish(writer, then)
        case Reply():
            await _http(writer, fault, call)
        case Early(then):
            await _finish(writer, then)
        case Talk():
            raise TypeError("a dialog in answer to an HTTP call")


async def _http(writer: asyncio.StreamWriter, reply: Reply, call: Call) -> None:
    body = reply.squeeze(_named(reply.body, call))
    chunked = reply.times > 1
    length = len(body) if reply.claims is None else reply.claims
    size = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(length))
    writer.write(_head(reply.status, (*reply.headers, size)))
    if chunked:
        for _ in range(reply.times):
            writer.write(b"%x\r\n%b\r\n" % (len(body), body))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
    elif reply.pause:
        for byte in body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(reply.pause)
    else:
        writer.write(body + reply.surplus)
    await writer.drain()
    if reply.then != "keep":
        await _finish(writer, reply.then)


async def _finish(writer: asyncio.StreamWriter, then: Then) -> None:
    match then:
        case "keep":
            return
        case "hang":
            await asyncio.sleep(3600)
        case "fin":
            await writer.drain()
        case "reset":
            await writer.drain()
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
    raise _Over


async def _act(writer: asyncio.StreamWriter, step: Step, flow: str) -> None:
    match step:
        case Text():
            payload = step.payload.replace(b"@FLOW@", flow.encode())
            sent = Frame(step.opcode, payload, fin=step.fin, rsv1=step.rsv1)
            writer.write(sent.serialize(mask=False))
            await writer.drain()
        case Bytes(said):
            writer.write(said)
            await writer.drain()
        case Again(inner, count, pause):
            for _ in range(count):
                await _act(writer, inner, flow)
                await asyncio.sleep(pause)
        case Wait(seconds):
            await asyncio.sleep(seconds)
        case End(how):
            await _finish(writer, how)


# --- serving --------------------------------------------------------------------------------------


@asynccontextmanager
async def served(stand_in: StandIn, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve on a loopback port of the system's choice; gives the base address."""
    # A limit of a megabyte: an upload's head and its fields are far below.
    server = await asyncio.start_server(stand_in.serve, "127.0.0.1", 0, limit=2**20, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.close()
        stand_in.hang_up()


@contextmanager
def serving(stand_in: StandIn) -> Iterator[str]:
    """Serve in a thread."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(served(stand_in)) as url,
    ):
        yield url
