"""What a service can do wrong on the wire, as data that the stand-in acts out.

`@ID@`, `@FILE@` and `@FLOW@` in a body stand for the file's id, its name, and the flow that the
dialog offered.
"""

import gzip as gzip_module
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from websockets.frames import Frame, Opcode

Then = Literal["keep", "fin", "reset", "hang"]
"""What becomes of the connection after an answer."""

JSON = (("Content-Type", "application/json"),)
MIB = 2**20


@dataclass(frozen=True)
class Reply:
    """An HTTP answer.

    `claims` is a Content-Length that is not the body's; `surplus` follows the body uncounted;
    `times` repeats the body, which is then sent in chunks; `pause` is the time between two bytes;
    `squeeze` encodes the body once the names are in it.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = JSON
    claims: int | None = None
    surplus: bytes = b""
    times: int = 1
    pause: float = 0.0
    squeeze: Callable[[bytes], bytes] = bytes
    then: Then = "keep"


@dataclass(frozen=True)
class Raw:
    """Bytes that need not be HTTP, in answer to a whole request."""

    data: bytes
    then: Then = "fin"


@dataclass(frozen=True)
class Early:
    """The connection is gone before the request's body was read."""

    then: Then = "reset"


@dataclass(frozen=True)
class Text:
    """A text message of a dialog."""

    payload: bytes
    opcode: Opcode = Opcode.TEXT
    fin: bool = True
    rsv1: bool = False


@dataclass(frozen=True)
class Bytes:
    """Bytes of a websocket connection that need not be a frame."""

    data: bytes


@dataclass(frozen=True)
class Again:
    """A step that is repeated so many times, with a pause in between."""

    step: "Step"
    count: int
    pause: float = 0.0


@dataclass(frozen=True)
class End:
    """The end of a dialog's connection without a close frame."""

    how: Then = "reset"


@dataclass(frozen=True)
class Wait:
    """Nothing is said for so many seconds."""

    seconds: float


Step = Text | Bytes | Again | End | Wait


@dataclass(frozen=True)
class Talk:
    """A dialog: after the question these steps, then silence.

    `hears` is whether the first question is waited for; `headers` join those of the handshake.
    """

    steps: tuple[Step, ...]
    hears: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    accept: Callable[[str], str] | None = None


Fault = Reply | Raw | Early | Talk

# --- HTTP answers ---------------------------------------------------------------------------------


def dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def http(status: int, body: bytes = b"no", *headers: tuple[str, str], **more: Any) -> Reply:
    return Reply(status, body, (("Content-Type", "text/plain"), *headers), **more)


def says(value: Any, **more: Any) -> Reply:
    """HTTP 200 with a JSON value."""
    return Reply(body=dumped(value), **more)


def envelope(
    code: Any, message: Any = "not this one", data: Any = None, status: int = 200
) -> Reply:
    return Reply(status, dumped({"code": code, "message": message, "data": data}))


def data(value: Any, **more: Any) -> Reply:
    """A successful envelope with this body."""
    return says({"code": "000000", "message": "success", "data": value}, **more)


def literally(body: bytes, *headers: tuple[str, str], **more: Any) -> Reply:
    """HTTP 200 with exactly this body."""
    return Reply(body=body, headers=headers or JSON, **more)


def redirect(status: int, location: str | None) -> Reply:
    return http(status, b"", *([("Location", location)] if location else []))


def encoded(reply: Reply, name: str, squeeze: Callable[[bytes], bytes] = bytes) -> Reply:
    """The reply in an encoding, or merely said to be."""
    headers = (*reply.headers, ("Content-Encoding", name))
    return replace(reply, headers=headers, squeeze=squeeze)


def gzip(text: bytes) -> bytes:
    return gzip_module.compress(text, mtime=0)


def gzipped(reply: Reply) -> Reply:
    return encoded(reply, "gzip", gzip)


def gzip_bomb(mebibytes: int) -> bytes:
    """So many MiB of blanks in some hundred KB, without taking the time to compress them."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = squeeze.flush(zlib.Z_FULL_FLUSH)
    block = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = block.compress(b" " * MIB) + block.flush(zlib.Z_FULL_FLUSH)
    return head + piece * mebibytes


UPLOADED = data({"id": "@ID@", "status": 1})
PARSED_BODY: dict[str, Any] = {
    "file_id": "@ID@",
    "status": 5,
    "error_msg": "",
    "file_name": "@FILE@",
    "parse_content": "the text of @FILE@",
    "llm_content": None,
}
PARSED = data(PARSED_BODY)
SETTLED = data(PARSED_BODY | {"status": 7})

# --- dialogs --------------------------------------------------------------------------------------


def text(payload: Any, **more: Any) -> Text:
    return Text(payload if isinstance(payload, bytes) else dumped(payload), **more)


def binary(payload: bytes) -> Text:
    return Text(payload, Opcode.BINARY)


def close(code: int | None, reason: bytes = b"") -> Bytes:
    """A close frame, also with a code that must not be on the wire."""
    head = b"" if code is None else code.to_bytes(2, "big")
    return Bytes(Frame(Opcode.CLOSE, head + reason).serialize(mask=False))


def frame(kind: str, **fields: Any) -> Text:
    return text({"code": "000000", "message": "success", "type": kind, "finish": "y"} | fields)


def flow(code: Any, **fields: Any) -> Text:
    return frame("flow", data={"code": code} | fields)


def spoken(words: str, finish: str = "n") -> Text:
    return frame("string", data=words, finish=finish)


CATEGORY: dict[str, Any] = {
    "id": 1,
    "name": "Anything",
    "support_formats": "txt,wav,pdf",
    "upload_max_num": 1,
    "variable_assign_enable": True,
    "variable_assign": "content",
    "customized_parse_methods": [],
}


def offer(categories: Any = (CATEGORY,), **more: Any) -> dict[str, Any]:
    """An upload node's content; `@FLOW@` tells which dialog an upload belongs to."""
    return {
        "instruction": "Please upload",
        "flow_uuid": "@FLOW@",
        "session_id": "s",
        "node_id": "n",
        "upload_file_categories": list(categories) if isinstance(categories, tuple) else categories,
    } | more


def node(categories: Any = (CATEGORY,), **more: Any) -> Text:
    return flow("002010", file_upload=offer(categories, **more))


def category(**fields: Any) -> dict[str, Any]:
    return CATEGORY | fields


def talk(*steps: Step, **more: Any) -> Talk:
    return Talk((ENTERED, *steps), **more)


ENTERED = flow("002000")
NODE = node()
GOOD = talk(NODE)
