"""The frames of a conversation, written once per flow and filled in for each dialog."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.simulator.offers import Flow, OfferedCategory
    from worker.simulator.scenario import Dialog, Scenario

UPLOAD_NODE = "21a5fdec-2807-45cd-bc6e-430f26e6f682"
FORMER_NODE = "f9b5d4d1-aa99-4c74-96db-642dfaf51f4d"
GREETING = "Hello, please send your files"
INSTRUCTION = "Please start uploading your files"

# Stand-ins in the templates, replaced for every dialog.
_DIALOG = 1_017_340_986_451_495_206
_SESSION = "00000000-5e55-0000-0000-000000000000"
_TASK = "00000000-7a58-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Script:
    """What a well-behaved conversation says, in order; the frame of the upload node comes last.

    `places` tells how many places each variable got.
    """

    opening: tuple[str, ...]
    upload: str
    trailing: tuple[str, ...]
    places: tuple[tuple[str, int], ...]


class Filler:
    """Fills templates in with one dialog's ids."""

    def __init__(self, dialog_id: int) -> None:
        self._dialog = str(dialog_id)
        self._session = str(uuid4())
        self._task = str(uuid4())

    def fill(self, template: str) -> str:
        """The frame for this dialog."""
        return (
            template.replace(str(_DIALOG), self._dialog)
            .replace(_SESSION, self._session)
            .replace(_TASK, self._task)
        )


def script(flow: Flow, categories: Sequence[OfferedCategory], scenario: Scenario) -> Script:
    """Everything that a conversation with this flow says."""
    style = scenario.dialog
    return Script(
        opening=(
            *accepted(scenario),
            text_frame(GREETING[:6], finish="n"),
            text_frame(GREETING[6:], finish="y"),
            flow_frame(flow, "002000", node=FORMER_NODE),
            flow_frame(flow, "002002", node=FORMER_NODE),
            flow_frame(flow, "000000", node=FORMER_NODE, answer=GREETING),
            flow_frame(flow, "002003", node=FORMER_NODE),
            flow_frame(flow, "002002", node=UPLOAD_NODE),
        ),
        upload=_upload_frame(flow, categories, style),
        trailing=(flow_frame(flow, "002004", node=UPLOAD_NODE),) if style.trailing_frames else (),
        places=tuple((category.variable, category.upload_max_num) for category in categories),
    )


def accepted(scenario: Scenario) -> tuple[str, ...]:
    """Task accepted, question accepted, and the notices that come with them."""
    code, message = "000000", "success"
    if scenario.notices_with_error_code:  # as documented by the vendor for a dialog that goes on
        code, message = "400000", "task send success,"
    return (
        _frame("json", -2, {"task_id": _TASK}, finish="n", code=code, message=message),
        _frame("json", -1, {"dialog_id": _DIALOG}, finish="n", code=code, message=message),
        _frame("json", -3, {"intent": "flow"}, finish="n"),
        _frame("json", -4, {"knowledge": []}, finish="n"),
        _frame("json", -8, {"sensitive": False}, finish="n"),
    )


def text_frame(text: str, *, finish: str) -> str:
    """A piece of the spoken reply."""
    return _frame("string", 0, text, finish=finish)


def flow_frame(
    flow: Flow, code: str, *, node: str, answer: str = "", more: dict[str, object] | None = None
) -> str:
    """A flow event; like nearly all of them it says `finish: "y"`."""
    data = _flow_data(flow, code, node) | {"answer": {"type": "text", "data": answer}}
    return _frame("flow", 0, data, finish="y", more=more)


def error_frame(code: str | int, message: str, *, inside: bool = False) -> str:
    """An error: in the envelope, or inside the flow event of a successful one."""
    data = {"code": str(code) if inside else "400000", "error": message}
    if inside:
        return _frame("flow", 0, data, finish="y")
    return _frame("flow", 0, data, finish="y", code=code, message=message)


def _frame(
    kind: str,
    index: int,
    data: object,
    *,
    finish: str,
    code: str | int = "000000",
    message: str = "success",
    more: dict[str, object] | None = None,
) -> str:
    frame = {
        "code": code,
        "message": message,
        "dialog_id": _DIALOG,
        "type": kind,
        "index": index,
        "data": data,
        "finish": finish,
    }
    return json.dumps(frame | (more or {}), ensure_ascii=False)


def _flow_data(flow: Flow, code: str, node: str) -> dict[str, Any]:
    return {
        "code": code,
        "flow_uuid": flow.uuid,
        "session_id": _SESSION,
        "flow_stage": "flow_running",
        "content_type": "text",
        "cur_node_id": node,
        "node_answer_finish": "y",
        "node_answer_index": 0,
        "node_stream": 0,
    }


def _upload_frame(flow: Flow, categories: Sequence[OfferedCategory], style: Dialog) -> str:
    content = {
        "instruction": INSTRUCTION,
        "upload_file_categories": [category.model_dump(mode="json") for category in categories],
        "flow_uuid": flow.uuid,
        "session_id": _SESSION,
        "node_id": UPLOAD_NODE,
        "language": "zh",
        "steps": 2,
        "is_submit": False,
    }
    data = _upload_data(flow, style)
    if "answer" in style.upload_in:
        data["answer"] = {"type": "upload", "data": content}
    if "data" in style.upload_in:
        data["file_upload"] = content
    more: dict[str, object] = {"file_upload": content} if "top" in style.upload_in else {}
    return _frame("flow", 0, data, finish="y", more=_around_upload(flow) | more)


def _upload_data(flow: Flow, style: Dialog) -> dict[str, Any]:
    stamp = str(int(time.time() * 1000))
    return _flow_data(flow, "002010", UPLOAD_NODE) | {
        "final": True,
        "id": 88043,
        "response_create_time_timestamp": stamp,
        "response_update_time_timestamp": stamp,
        "history": [
            {"node_id": "start00000000000000000000", "user_robot_replying": "File upload"},
            {"node_id": FORMER_NODE, "robot_user_replying": GREETING + "." * style.history_bytes},
        ],
        "output": {"inputs": {}, "variables": {}, "entities": {}},
        "answer": {"type": "text", "data": ""},
        "content_type": "json",
        "target_node_id": UPLOAD_NODE,
        "source_node_id": FORMER_NODE,
        "parent_node_id": FORMER_NODE,
    }


def _around_upload(flow: Flow) -> dict[str, object]:
    return {
        "cur_node_id": UPLOAD_NODE,
        "node_id": FORMER_NODE,
        "parent_node_id": FORMER_NODE,
        "debug": 0,
        "node_developer": 0,
        "flow_name": flow.name,
        "node_type": "file_upload",
        "node_title": "Node 3",
        "node_waiting": False,
        "flow_jump": 0,
        "node_waiting_input": 0,
        "node_waiting_jump": 0,
        "audio": f"api/search-answer-speech/{_DIALOG}_1.wav",
        "flow_node_dialog_id": f"{_DIALOG}_1",
    }
