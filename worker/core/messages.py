"""Wire text <-> typed messages: dialog frames, envelopes, upload and status replies.

The service is loose with types: numbers arrive as text and the reverse, a success code as
`"000000"` or 0, and one upload node stands in three places of a frame. Every such tolerance
lives here, so that the rest of the project sees one shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote

import orjson

from worker.core.model import (
    Category,
    Credentials,
    ParseMethod,
    StatusReply,
    UploadNode,
    UploadReply,
)

DIALOG_PATH = "/openapi/v2/ws/dialog/"
UPLOAD_PATH = "/openapi/v1/chatflow/offline_upload_file/"
STATUS_PATH = "/openapi/v1/chatflow/get_offline_file_status/"

HEARTBEAT = '{"type":"heartbeat","data":"ping"}'
"""What a client may send while it waits; the service answers with `"pong"`."""

UPLOAD_NODE = "002010"
"""`data.code` of the flow event that carries the upload node."""

_Built = TypeVar("_Built")


class MalformedReply(ValueError):
    """What arrived is not the JSON the protocol speaks of. Never quotes it: it may be private."""


# --- JSON ----------------------------------------------------------------------------------------


class _InexactNumber(ValueError):
    """An id beyond 64 bits, which the quick parser has rounded."""


def _parse(raw: bytes | str, build: Callable[[Any], _Built]) -> _Built:
    """Build a message of JSON text; the slow parser steps in where the quick one falls short.

    orjson refuses lone surrogates, which the service is known to send, and rounds integers
    beyond 64 bits.
    """
    with suppress(orjson.JSONDecodeError, _InexactNumber):
        return build(orjson.loads(raw))
    # Past the handlers, so that no parser's error, which holds the whole text, hangs on ours.
    value = _load_slowly(raw)
    with suppress(_InexactNumber):
        return build(value)
    raise MalformedReply("the service sent an id that is no whole number")


def _load_slowly(raw: bytes | str) -> Any:
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        return json.loads(text.lstrip("\ufeff"))
    raise MalformedReply(f"the service sent {len(raw)} bytes that are not JSON")


def _text(value: Any) -> str:
    """A scalar as text; "" for what is missing or has no text of its own."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if isinstance(value, float):
        if abs(value) >= 2**53:
            raise _InexactNumber
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)


def _number(value: Any) -> int | None:
    """An integer that may have been sent as text."""
    text = _text(value).strip()
    if len(text) > 20 or not re.fullmatch(r"[+-]?[0-9]+", text):
        return None
    return int(text)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _entries(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


# --- envelopes -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Envelope:
    """A successful reply; `data` is its message body."""

    data: Any


@dataclass(frozen=True, slots=True)
class EnvelopeError:
    """A reply whose code is not the success code, with the service's words."""

    code: str
    message: str


def parse_envelope(raw: bytes | str) -> Envelope | EnvelopeError:
    """Open the envelope `{code, message, data}` that every HTTP reply comes in.

    Raises:
        MalformedReply: not JSON, not an object, or without a code.
    """
    return _parse(raw, _envelope)


def _envelope(payload: Any) -> Envelope | EnvelopeError:
    envelope = _mapping(payload)
    if envelope.get("code") is None:
        _malformed("a reply without a code")
    code = _text(envelope["code"]).strip()
    if is_success(code):
        return Envelope(_exact(envelope.get("data")))
    return EnvelopeError(code, _message(envelope))


def _exact(data: Any) -> Any:
    """Notice a rounded id while the slow parser can still read the reply again."""
    for name in ("id", "file_id"):
        _text(_mapping(data).get(name))
    return data


def _malformed(what: str) -> NoReturn:
    raise MalformedReply(f"the service sent {what}")


def _message(envelope: Mapping[str, Any]) -> str:
    return _text(envelope.get("message")) or _text(envelope.get("msg"))


def is_success(code: str) -> bool:
    """Whether an envelope's code means success: `"000000"`, and 0 as an integer or text."""
    return code in {"000000", "0"}


_CREDENTIAL_WORDS = re.compile(
    r"(?<![a-z])(?:token|(?<!primary )(?<!foreign )(?<!duplicate )key|api_?key|credentials?"
    r"|unauthori[sz]ed|authori[sz]ation|authentication|permission)(?![a-z])"
    r"|鉴权|认证|密钥|令牌|无权限",
    re.IGNORECASE,
)


def refuses_credentials(code: str, message: str) -> bool:
    """Whether the code and message of an *error* refuse the key, the token or the user name.

    The service documents no code for that. Codes that begin with 401 or 403 do, and so do
    errors whose words speak of a token, key, credential, permission or authentication. Plurals
    such as "maximum of 4096 tokens" are about language models and do not count.
    """
    return code.startswith(("401", "403")) or bool(_CREDENTIAL_WORDS.search(message))


def parse_upload_reply(data: Any) -> UploadReply:
    """Read the body of a successful upload: the file's id, as exact text, and its status.

    Raises:
        MalformedReply: there is no id.
    """
    body = _mapping(data)
    file_id = (_text(body.get("id")) or _text(body.get("file_id"))).strip()
    if not file_id:
        _malformed("an upload's reply without an id")
    return UploadReply(file_id, _number(body.get("status")))


def parse_status_reply(data: Any) -> StatusReply:
    """Read the body of a successful status call; contents stay raw JSON values.

    Raises:
        MalformedReply: the body is not an object.
    """
    if not isinstance(data, dict):
        _malformed("a status reply without a body")
    return StatusReply(
        status=_number(data.get("status")),
        error_message=_text(data.get("error_msg")),
        parse_content=data.get("parse_content"),
        llm_content=data.get("llm_content"),
    )


# --- dialog frames -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskAccepted:
    """The service has begun to work on the question."""

    task_id: str
    dialog_id: str | None = None


@dataclass(frozen=True, slots=True)
class QuestionAccepted:
    """The question has got its dialog id, exact as text (it exceeds 2^53)."""

    dialog_id: str | None


@dataclass(frozen=True, slots=True)
class Notice:
    """A JSON notice that means nothing to us."""

    index: int | None
    dialog_id: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of spoken reply."""

    text: str
    dialog_id: str | None = None


@dataclass(frozen=True, slots=True)
class FlowEvent:
    """A step of the flow.

    Attributes:
        code: `data.code`: 002000 flow entered, 002001 flow left, 002002 node entered, 002003
            debug, 002004 waiting for input, 002005 this round is over, 002007 jump, 002010 the
            upload node, 000000 node output, 400000 error.
        words: what the node says, or the message that came with an error.
        node: the upload node, where the frame carries one.
    """

    code: str
    words: str
    node: UploadNode | None
    dialog_id: str | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The answer to our heartbeat, or the service's own."""

    dialog_id: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """A frame whose envelope code is not the success code."""

    code: str
    message: str
    dialog_id: str | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """A frame of a kind that the protocol does not name."""

    kind: str
    dialog_id: str | None = None


Frame = TaskAccepted | QuestionAccepted | Notice | Text | FlowEvent | Heartbeat | ErrorFrame | Other


def parse_frame(raw: bytes | str) -> Frame:
    """Read one dialog frame.

    Raises:
        MalformedReply: the frame is not JSON.
    """
    return _parse(raw, _frame)


def _frame(payload: Any) -> Frame:
    frame = _mapping(payload)
    dialog_id = _dialog_id(frame)
    kind = _text(frame.get("type"))
    code = _text(frame.get("code")).strip()
    if kind == "error" or (code and not is_success(code)):
        return ErrorFrame(code, _message(frame) or _text(frame.get("data")), dialog_id)
    match kind:
        case "json":
            return _notice(frame, dialog_id)
        case "string":
            return Text(_text(frame.get("data")), dialog_id)
        case "flow":
            return _flow_event(frame, dialog_id)
        case "heartbeat":
            return Heartbeat(dialog_id)
        case _:
            return Other(kind, dialog_id)


def _dialog_id(frame: Mapping[str, Any]) -> str | None:
    own = _text(frame.get("dialog_id"))
    return own or _text(_mapping(frame.get("data")).get("dialog_id")) or None


def _notice(frame: Mapping[str, Any], dialog_id: str | None) -> Frame:
    match _number(frame.get("index")):
        case -2:
            return TaskAccepted(_text(_mapping(frame.get("data")).get("task_id")), dialog_id)
        case -1:
            return QuestionAccepted(dialog_id)
        case index:
            return Notice(index, dialog_id)


def _flow_event(frame: Mapping[str, Any], dialog_id: str | None) -> FlowEvent:
    data = _mapping(frame.get("data"))
    return FlowEvent(
        code=_text(data.get("code")).strip(),
        words=_words(data),
        node=_upload_node(frame, data),
        dialog_id=dialog_id,
    )


def _words(data: Mapping[str, Any]) -> str:
    answer = data.get("answer")
    said = _text(answer) or _text(_mapping(answer).get("data"))
    return said or _message(data)


# --- the upload node -----------------------------------------------------------------------------


def _upload_node(frame: Mapping[str, Any], data: Mapping[str, Any]) -> UploadNode | None:
    """The node from the first of its three places that holds it."""
    answer = _mapping(data.get("answer"))
    answered = answer.get("data") if answer.get("type") == "upload" else None
    for place in (data.get("file_upload"), answered, frame.get("file_upload")):
        if node := _mapping(place):
            return _node(node, data)
    return None


def _node(node: Mapping[str, Any], data: Mapping[str, Any]) -> UploadNode:
    categories = _entries(node.get("upload_file_categories"))
    return UploadNode(
        flow_uuid=_text(node.get("flow_uuid")) or _text(data.get("flow_uuid")),
        session_id=_text(node.get("session_id")) or _text(data.get("session_id")),
        node_id=_text(node.get("node_id")) or _text(data.get("cur_node_id")),
        instruction=_text(node.get("instruction")),
        language=_text(node.get("language")),
        categories=tuple(_category(place, entry) for place, entry in enumerate(categories)),
    )


def _category(place: int, entry: Mapping[str, Any]) -> Category:
    number, most = _number(entry.get("id")), _number(entry.get("upload_max_num"))
    assigns = _is_true(entry.get("variable_assign_enable"))
    return Category(
        id=place if number is None else number,
        name=_text(entry.get("name")),
        formats=_formats(entry.get("support_formats")),
        upload_max_num=1 if most is None else most,
        variable=_text(entry.get("variable_assign")) if assigns else "",
        parse_methods=tuple(
            _parse_method(method) for method in _entries(entry.get("customized_parse_methods"))
        ),
    )


def _parse_method(method: Mapping[str, Any]) -> ParseMethod:
    return ParseMethod(
        file_format=_text(method.get("file_format")),
        parse_model=_text(method.get("parse_model")),
        parse_prompt=_text(method.get("parse_prompt")),
    )


_BETWEEN_FORMATS = re.compile("[,;|\uff0c\u3001\uff1b\\s]+")  # the full-width ones too


def _formats(value: Any) -> tuple[str, ...]:
    """The formats of a comma list, however it is spelled: ".WAV , mp3" and "text" for "txt"."""
    listed = ",".join(map(_text, value)) if isinstance(value, list) else _text(value)
    names = (name.strip("*. ").lower() for name in _BETWEEN_FORMATS.split(listed))
    spelled = ("txt" if name == "text" else name for name in names if name)
    return tuple(dict.fromkeys(spelled))


def _is_true(value: Any) -> bool:
    """A switch that counts as on unless something says off."""
    if isinstance(value, str):
        return value.strip().lower() not in {"false", "0", "no", "off", "n"}
    return value is None or bool(value)


# --- what we send --------------------------------------------------------------------------------


def wire_credentials(credentials: Credentials, *, decode: bool) -> Credentials:
    """The credentials in the form they travel in.

    Keys are often handed out percent-encoded and are sent as given, unless `decode` says so.
    """
    if not decode:
        return credentials
    return Credentials(
        robot_key=unquote(credentials.robot_key),
        robot_token=unquote(credentials.robot_token),
        username=credentials.username,
    )


def credential_headers(credentials: Credentials) -> dict[str, str]:
    """The three headers by which the service knows us, on HTTP and on the websocket."""
    return {
        "cybertron-robot-key": credentials.robot_key,
        "cybertron-robot-token": credentials.robot_token,
        "username": credentials.username,
    }


def question_frame(
    credentials: Credentials,
    question: str,
    segment_code: str,
    message_source: str,
    flow_uuid: str | None = None,
) -> str:
    """The frame that opens a conversation.

    Args:
        credentials: travel in the body as well as in the headers.
        question: what opens the upload intent.
        segment_code: the client's name of the conversation, 22 characters, new for each one.
        message_source: "WS" in the reference, "web" in its example.
        flow_uuid: opens this flow directly, whatever the question says.
    """
    frame: dict[str, Any] = {
        "cybertron_robot_key": credentials.robot_key,
        "cybertron_robot_token": credentials.robot_token,
        "username": credentials.username,
        "question": question,
        "segment_code": segment_code,
        "message_source": message_source,
    }
    if flow_uuid:
        frame |= _direct_opening(flow_uuid)
    return json.dumps(frame)


def _direct_opening(flow_uuid: str) -> dict[str, Any]:
    return {
        "open_flow_trigger": "direct",
        "open_flow_uuid": flow_uuid,
        "open_flow_node_uuid": "",
        "open_flow_node_inputs": {},
    }
