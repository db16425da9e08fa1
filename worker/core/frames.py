"""Wire text -> the frames of a dialog, and the upload node that one of them carries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from worker.core.loose_json import (
    MalformedReply,
    entries_of,
    mapping_of,
    number_of,
    parse_json,
    text_of,
)
from worker.core.messages import is_success, message_of
from worker.core.model.wire import Category, ParseMethod, UploadNode

MOST_ENTRIES = 1000
"""Categories of a node, formats of a category, parse methods of a category: those beyond are as
if not sent. A frame may hold 10 MiB of them, and each file is held against all of them."""

# --- frames ---------------------------------------------------------------------------------------


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
    """A piece of spoken reply.

    `finished` (`finish: "y"`) ends a reply that is no flow: so the vendor documents it for frames
    of type `string` and `json`; within a flow it says nothing.
    """

    text: str
    dialog_id: str | None = None
    finished: bool = False


@dataclass(frozen=True, slots=True)
class FlowEvent:
    """A step of the flow.

    Attributes:
        code: `data.code`: 002000 flow entered, 002001 flow left, 002002 node entered, 002003
            debug, 002004 waiting for input, 002005 this round is over, 002007 jump, 002010 the
            upload node, 000000 node output, 400000 error.
        words: what the node says, or the message that came with an error.
        node: the upload node, where the frame carries one.
        jumps: `flow_jump` or `node_waiting_jump` is set (0 in the vendor's example of the upload
            node), so another flow is to go on, and may wait for us to say so.
        waits: `node_waiting_input` is set: a node waits for input.
    """

    code: str
    words: str
    node: UploadNode | None
    dialog_id: str | None = None
    jumps: bool = False
    waits: bool = False


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
        MalformedReply: the frame is not JSON, or no JSON object.
    """
    return parse_json(raw, _frame)


def _frame(frame: Any) -> Frame:
    if not isinstance(frame, dict):
        raise MalformedReply("the service sent a frame that is no JSON object")
    dialog_id = _dialog_id(frame)
    kind = text_of(frame.get("type"))
    code = text_of(frame.get("code")).strip()
    if kind == "heartbeat":  # whose answer may carry a code and a message like any envelope
        return Heartbeat(dialog_id)
    if kind == "error" or (code and not is_success(code) and not _is_receipt(frame, kind)):
        return ErrorFrame(code, message_of(frame) or text_of(frame.get("data")), dialog_id)
    match kind:
        case "json":
            return _notice(frame, dialog_id)
        case "string":
            return _spoken(frame, dialog_id)
        case "flow":
            return _flow_event(frame, dialog_id)
        case _:
            return Other(kind, dialog_id)


def _dialog_id(frame: Mapping[str, Any]) -> str | None:
    own = text_of(frame.get("dialog_id"))
    return own or text_of(mapping_of(frame.get("data")).get("dialog_id")) or None


def _is_receipt(frame: Mapping[str, Any], kind: str) -> bool:
    """Whether a frame merely says that the task or the question was accepted, whatever its code.

    The vendor's SDK documentation shows both notices with code 400000 and a message of success,
    and the dialog goes on; elsewhere they carry 000000. What tells them is the id they bring.
    """
    known = text_of(mapping_of(frame.get("data")).get("task_id")) or _dialog_id(frame)
    return kind in {"json", ""} and number_of(frame.get("index")) in {-1, -2} and bool(known)


def _notice(frame: Mapping[str, Any], dialog_id: str | None) -> Frame:
    """A notice has a negative index (-3 search, -4 image, -8 reasoning mean nothing to us)."""
    match number_of(frame.get("index")):
        case -2:
            return TaskAccepted(text_of(mapping_of(frame.get("data")).get("task_id")), dialog_id)
        case -1:
            return QuestionAccepted(dialog_id)
        case int(index) if index < 0:
            return Notice(index, dialog_id)
        case _:
            return _spoken(frame, dialog_id)


def _spoken(frame: Mapping[str, Any], dialog_id: str | None) -> Text:
    data = frame.get("data")
    words = text_of(data) or _first_text(mapping_of(data), "answer", "reply", "text", "content")
    return Text(words, dialog_id, finished=text_of(frame.get("finish")).strip().lower() == "y")


def _first_text(data: Mapping[str, Any], *names: str) -> str:
    return next((found for name in names if (found := text_of(data.get(name)))), "")


def _flow_event(frame: Mapping[str, Any], dialog_id: str | None) -> FlowEvent:
    data = mapping_of(frame.get("data"))
    return FlowEvent(
        code=text_of(data.get("code")).strip(),
        words=_words(data),
        node=_upload_node(frame, data),
        dialog_id=dialog_id,
        jumps=_is_set(frame, data, "flow_jump", "node_waiting_jump"),
        waits=_is_set(frame, data, "node_waiting_input"),
    )


def _is_set(frame: Mapping[str, Any], data: Mapping[str, Any], *names: str) -> bool:
    """Whether one of these switches is on; they are off unless something says so."""
    values = (place.get(name) for place in (frame, data) for name in names)
    return any(value is not None and value != "" and _is_true(value) for value in values)


def _words(data: Mapping[str, Any]) -> str:
    answer = data.get("answer")
    said = text_of(answer) or text_of(mapping_of(answer).get("data"))
    return said or message_of(data)


# --- the upload node -----------------------------------------------------------------------------


def _upload_node(frame: Mapping[str, Any], data: Mapping[str, Any]) -> UploadNode | None:
    """The node from the first of its three places that holds it."""
    answer = mapping_of(data.get("answer"))
    answered = answer.get("data") if answer.get("type") == "upload" else None
    for place in (data.get("file_upload"), answered, frame.get("file_upload")):
        if node := mapping_of(place):
            return _node(node, data)
    return None


def _node(node: Mapping[str, Any], data: Mapping[str, Any]) -> UploadNode:
    categories = _some(node.get("upload_file_categories"))
    return UploadNode(
        flow_uuid=text_of(node.get("flow_uuid")) or text_of(data.get("flow_uuid")),
        session_id=text_of(node.get("session_id")) or text_of(data.get("session_id")),
        node_id=text_of(node.get("node_id")) or text_of(data.get("cur_node_id")),
        categories=tuple(_category(place, entry) for place, entry in enumerate(categories)),
    )


def _category(place: int, entry: Mapping[str, Any]) -> Category:
    number, most = number_of(entry.get("id")), number_of(entry.get("upload_max_num"))
    assigns = _is_true(entry.get("variable_assign_enable"))
    return Category(
        id=place if number is None else number,
        name=text_of(entry.get("name")),
        formats=_formats(entry.get("support_formats")),
        upload_max_num=1 if most is None else most,
        variable=text_of(entry.get("variable_assign")) if assigns else "",
        parse_methods=tuple(
            _parse_method(method) for method in _some(entry.get("customized_parse_methods"))
        ),
    )


def _some(value: Any) -> Iterator[Mapping[str, Any]]:
    return islice(entries_of(value), MOST_ENTRIES)


def _parse_method(method: Mapping[str, Any]) -> ParseMethod:
    return ParseMethod(
        file_format=text_of(method.get("file_format")),
        parse_model=text_of(method.get("parse_model")),
        parse_prompt=text_of(method.get("parse_prompt")),
    )


_BETWEEN_FORMATS = re.compile("[,;|\uff0c\u3001\uff1b\\s]+")  # the full-width ones too


def _formats(value: Any) -> tuple[str, ...]:
    """The formats of a comma list, however it is written: ".WAV , mp3"."""
    listed = ",".join(map(text_of, value)) if isinstance(value, list) else text_of(value)
    names = (name.strip("*. ").lower() for name in _BETWEEN_FORMATS.split(listed))
    return tuple(islice(dict.fromkeys(filter(None, names)), MOST_ENTRIES))


def _is_true(value: Any) -> bool:
    """A switch that counts as on unless something says off."""
    if isinstance(value, str):
        return value.strip().lower() not in {"false", "0", "no", "off", "n"}
    return value is None or bool(value)
