"""What we expect of the service, as a table, and in words how a recording differs from it.

The table restates the published description (and what was observed where that is silent): which
fields each frame and reply has, and of which types. Most differences are harmless, since the
readers of `worker.core` are generous; those that a setting answers name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from worker.core.contents import is_empty
from worker.core.lifecycle import ServiceStatus
from worker.core.recording import Event

TEXT, NUMBER, OBJECT, LIST, FLAG, NULL = (
    "a text",
    "a number",
    "an object",
    "a list",
    "a flag",
    "null",
)
ANY = frozenset({TEXT, NUMBER, OBJECT, LIST, FLAG, NULL})


def _one(*kinds: str) -> frozenset[str]:
    return frozenset(kinds)


Fields = Mapping[str, frozenset[str]]

ENVELOPE: Fields = {"code": _one(TEXT), "message": _one(TEXT), "data": ANY}
FRAME: Fields = {
    **ENVELOPE,
    "type": _one(TEXT), "index": _one(NUMBER), "finish": _one(TEXT), "dialog_id": _one(NUMBER),
}  # fmt: skip
CATEGORY: Fields = {
    "id": _one(NUMBER), "name": _one(TEXT), "support_formats": _one(TEXT),
    "upload_max_num": _one(NUMBER), "variable_assign_enable": _one(FLAG),
    "variable_assign": _one(TEXT), "customized_parse_methods": _one(LIST),
}  # fmt: skip
EXPECTED: Mapping[str, Fields] = MappingProxyType(
    {
        "the notice that a task was accepted": FRAME,
        "the notice that the question was accepted": FRAME,
        "a notice": FRAME,
        "a spoken text": FRAME,
        "a flow event": FRAME,
        "a heartbeat's answer": {"type": _one(TEXT), "data": _one(TEXT)},
        "the upload node": {
            "instruction": _one(TEXT), "flow_uuid": _one(TEXT), "session_id": _one(TEXT),
            "node_id": _one(TEXT), "language": _one(TEXT), "steps": _one(NUMBER),
            "is_submit": _one(FLAG), "upload_file_categories": _one(LIST),
        },
        "a category": CATEGORY,
        "a parse method": {
            "file_format": _one(TEXT), "parse_model": _one(TEXT), "parse_prompt": _one(TEXT),
        },
        "the upload's reply": ENVELOPE,
        "the upload's data": {"id": _one(NUMBER), "status": _one(NUMBER)},
        "a status reply": ENVELOPE,
        "a status reply's data": {
            "file_id": _one(NUMBER), "status": _one(NUMBER), "error_msg": _one(TEXT),
            "file_name": _one(TEXT), "parse_content": ANY, "llm_content": ANY,
        },
    }
)  # fmt: skip
"""Fields and types by kind of message. A flow event has more fields than are listed: only those
that are read are looked at there, and in the envelope around an upload node."""

_WITH_MORE = frozenset({"a flow event", "a heartbeat's answer"})
_EVENTS = frozenset(
    {"002000", "002001", "002002", "002003", "002004", "002005", "002007", "002010", "000000"}
)
_FRAME_TYPES = frozenset({"json", "string", "flow", "heartbeat", "llm_end", "text"})


@dataclass(frozen=True, slots=True)
class Difference:
    """What was seen that our description does not say; `setting` answers it, if one does."""

    words: str
    setting: str = ""


def differences(settings: Mapping[str, Any], events: Sequence[Event]) -> list[Difference]:
    """How a recorded exchange differs from what we expect, each difference once.

    Args:
        settings: the recording's own, from its head.
        events: the recording's.
    """
    found = [
        *_of_shapes(events), *_of_dialog(events), *_of_upload(events), *_of_end(settings, events),
        *_of_calls(settings, events),
    ]  # fmt: skip
    return list(dict.fromkeys(found))


# --- shapes --------------------------------------------------------------------------------------


def _of_shapes(events: Iterable[Event]) -> Iterator[Difference]:
    for event in events:
        if event["do"] != "received":
            continue
        if "json" not in event:
            what = "a binary message" if "bytes" in event else "a message that is no JSON"
            yield Difference(f"{event['on']}: {what} (dialogs skip it)")
            continue
        for kind, value in _messages(event["on"], event["json"]):
            yield from _compared(kind, value)


def _messages(on: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A message and its parts, each with the name of its kind."""
    match on:
        case "dialog":
            yield from _frame_parts(value)
        case "upload":
            yield "the upload's reply", value
            if isinstance(data := _get(value, "data"), dict):
                yield "the upload's data", data
        case "status":
            yield "a status reply", value
            if isinstance(data := _get(value, "data"), dict):
                yield "a status reply's data", data
        case _:
            return


def _frame_parts(frame: Any) -> Iterator[tuple[str, Any]]:
    yield _kind_of_frame(frame), frame
    if (node := _node(frame)) is None:
        return
    yield "the upload node", node
    for category in _list(_get(node, "upload_file_categories")):
        yield "a category", category
        for method in _list(_get(category, "customized_parse_methods")):
            yield "a parse method", method


def _kind_of_frame(frame: Any) -> str:
    match _get(frame, "type"), _get(frame, "index"):
        case "heartbeat", _:
            return "a heartbeat's answer"
        case "flow", _:
            return "a flow event"
        case "json", -2 | "-2":
            return "the notice that a task was accepted"
        case "json", -1 | "-1":
            return "the notice that the question was accepted"
        case "string", _:
            return "a spoken text"
        case _:
            return "a notice"


def _compared(kind: str, value: Any) -> Iterator[Difference]:
    if not isinstance(value, dict):
        yield Difference(f"{kind} is {_type(value)}, not an object")
        return
    expected = EXPECTED[kind]
    for name, types in expected.items():
        if name not in value:
            yield Difference(f"{kind} has no field `{name}`")
        elif _type(value[name]) not in types:
            wanted = " or ".join(sorted(types))
            yield Difference(f"{kind}: `{name}` is {_type(value[name])}, described is {wanted}")
    if kind not in _WITH_MORE:
        for name in value.keys() - expected.keys():
            yield Difference(f"{kind} has a field more: `{name}`, {_type(value[name])}")


def _type(value: Any) -> str:
    match value:
        case None:
            return NULL
        case bool():
            return FLAG
        case int() | float():
            return NUMBER
        case str():
            return TEXT
        case list():
            return LIST
        case _:
            return OBJECT


# --- the dialog ----------------------------------------------------------------------------------


def _of_dialog(events: Sequence[Event]) -> Iterator[Difference]:
    frames = [event["json"] for event in _received(events, "dialog") if "json" in event]
    for frame in frames:
        if isinstance(kind := _get(frame, "type"), str) and kind not in _FRAME_TYPES:
            yield Difference(f"a frame of an undescribed type: `{kind}`")
        code = _get(_get(frame, "data"), "code")
        if _get(frame, "type") == "flow" and str(code) not in _EVENTS:
            yield Difference(f"a flow event with an undescribed code: `{code}`")
        if _get(frame, "index") in {-1, -2} and str(_get(frame, "code")) not in {"000000", "0"}:
            yield Difference(f"a notice with the code `{_get(frame, 'code')}` (taken for success)")
    words = " ".join(str(_get(frame, "message") or "") for frame in frames)
    if "message_source" in words:
        yield Difference("the service objects to `message_source`", "CHATFLOW_MESSAGE_SOURCE=web")
    if not any(_node(frame) for frame in frames):
        yield from _without_node(frames)


def _without_node(frames: Sequence[Any]) -> Iterator[Difference]:
    codes = [str(_get(_get(frame, "data"), "code")) for frame in frames]
    if "002007" in codes:
        words = "the flow jumped to another one that did not lead to an upload node"
        yield Difference(words, "CHATFLOW_FLOW_UUID")
    elif "002004" in codes:
        yield Difference("the flow waits for an input", "CHATFLOW_FLOW_UUID or CHATFLOW_QUESTION")
    elif frames:
        words = "the question opened no flow with an upload node"
        yield Difference(words, "CHATFLOW_QUESTION or CHATFLOW_FLOW_UUID")


# --- the upload and its end ----------------------------------------------------------------------


def _of_upload(events: Sequence[Event]) -> Iterator[Difference]:
    for event in _received(events, "upload"):
        reply = event.get("json")
        message = str(_get(reply, "message") or "")
        if str(_get(reply, "code")) in {"000000", "0"}:
            continue
        setting = "CHATFLOW_TENANT_NAME" if "tenant" in message.lower() else ""
        yield Difference(f"the upload was refused: {_get(reply, 'code')} {message}", setting)


def _of_end(settings: Mapping[str, Any], events: Sequence[Event]) -> Iterator[Difference]:
    replies = [_get(event.get("json"), "data") for event in _received(events, "status")]
    statuses = [_number(_get(reply, "status")) for reply in replies if reply is not None]
    for status in dict.fromkeys(statuses):
        if status is not None and ServiceStatus.known(status) is None:
            yield Difference(f"an undescribed status: {status} (taken for: on its way)")
    goes_on = 5 in statuses and bool({7, 8} & set(statuses[statuses.index(5) :]))
    if goes_on and settings.get("CHATFLOW_SETTLE_AT") != "flow":
        words = "the flow goes on after parsing (5), and its answer comes later"
        yield Difference(words, "CHATFLOW_SETTLE_AT=flow")
    brought = bool(statuses) and not is_empty(_get(replies[-1], "parse_content"))
    if brought and statuses[-1] == 8 and "8" not in str(settings.get("CHATFLOW_SUCCESS_STATUSES")):
        words = "status 8 (flow failed) came with contents"
        yield Difference(words, "CHATFLOW_SUCCESS_STATUSES=5,7,8, if that is success here")


# --- the calls themselves ------------------------------------------------------------------------


def _of_calls(settings: Mapping[str, Any], events: Sequence[Event]) -> Iterator[Difference]:
    for event in events:
        status = event.get("status")
        if not isinstance(status, int) or status in {101, 200} or event["on"] == "bulk":
            continue
        setting = ""
        if 300 <= status < 400:
            setting = "CHATFLOW_BASE_URL"
        elif status in {401, 403}:
            encoded = settings.get("percent_in_credentials")
            setting = (
                "CHATFLOW_DECODE_CREDENTIALS=on" if encoded else "CHATFLOW_ROBOT_KEY and others"
            )
        yield Difference(f"{event['on']}: answered with HTTP {status}", setting)
    yield from _of_bulk(events)


def _of_bulk(events: Sequence[Event]) -> Iterator[Difference]:
    for event in _received(events, "bulk"):
        code = _get(event.get("json"), "code")
        if event.get("status") == 200 and str(code) in {"000000", "0"}:
            yield Difference("the bulk call answered for this file: worth telling the maintainers")


# --- looking into values -------------------------------------------------------------------------


def _received(events: Iterable[Event], on: str) -> list[Event]:
    return [event for event in events if event["on"] == on and event["do"] == "received"]


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> int | None:
    return int(value) if str(value).lstrip("-").isdecimal() else None


def _node(frame: Any) -> Any:
    data = _get(frame, "data")
    answer = _get(data, "answer")
    answered = _get(answer, "data") if _get(answer, "type") == "upload" else None
    return _get(data, "file_upload") or answered or _get(frame, "file_upload")
