"""Wire text <-> typed messages: envelopes, upload and status replies, and what we send.

The service is loose with types: numbers arrive as text and the reverse, a success code as
`"000000"` or 0. Every such tolerance lives here, in `frames` and in `loose_json`, so that the rest
of the project sees one shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.core.json_size import holds_too_much
from worker.core.loose_json import (
    malformed,
    mapping_of,
    number_of,
    parse_json,
    text_of,
)
from worker.core.model.wire import Credentials, StatusReply, UploadReply

DIALOG_PATH = "/openapi/v2/ws/dialog/"
UPLOAD_PATH = "/openapi/v1/chatflow/offline_upload_file/"
STATUS_PATH = "/openapi/v1/chatflow/get_offline_file_status/"

HEARTBEAT = '{"type":"heartbeat","data":"ping"}'
"""What a client may send while it waits; the service answers with `"pong"`."""


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
        MalformedReply: not JSON, not an object, without a code, or more than is worth its memory.
    """
    if holds_too_much(raw):
        malformed(f"{len(raw)} bytes of too many JSON values")
    return parse_json(raw, _envelope)


_LONGEST_CODE = 64
_LONGEST_ID = 500  # it travels in an address


def _envelope(payload: Any) -> Envelope | EnvelopeError:
    envelope = mapping_of(payload)
    if envelope.get("code") is None:
        malformed("a reply without a code")
    code = text_of(envelope["code"]).strip()
    if is_success(code):
        return Envelope(envelope.get("data"))
    return EnvelopeError(code[:_LONGEST_CODE], message_of(envelope))


def message_of(envelope: Mapping[str, Any]) -> str:
    """The words of an envelope or a frame about itself."""
    return text_of(envelope.get("message")) or text_of(envelope.get("msg"))


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
    """Whether the code and message of an *error* speak of the key, the token or the user name.

    Said by a dialog they refuse the credentials; of an upload or status call they are a
    suspicion only, since a file "over the token limit" is refused in such words too.

    The service documents no code for that. Codes that begin with 401 or 403 do, and so do
    errors whose words speak of a token, key, credential, permission or authentication. Plurals
    such as "maximum of 4096 tokens" are about language models and do not count.
    """
    return code.startswith(("401", "403")) or bool(_CREDENTIAL_WORDS.search(message))


def parse_upload_reply(data: Any) -> UploadReply:
    """Read the body of a successful upload: the file's id, as exact text, and its status.

    Raises:
        MalformedReply: there is no id, or one that names no file for certain.
    """
    body = mapping_of(data)
    file_id = _identifier(body.get("id")) or _identifier(body.get("file_id"))
    if not file_id:
        malformed("an upload's reply without an id")
    return UploadReply(file_id, number_of(body.get("status")))


def _identifier(value: Any) -> str:
    text = text_of(value).strip()
    if isinstance(value, float) and not text.removeprefix("-").isdecimal():
        malformed(f"an id that is no whole number: {text}")
    if len(text) > _LONGEST_ID:
        malformed(f"an id of {len(text)} characters")
    return text


def parse_status_reply(data: Any, asked: str) -> StatusReply:
    """Read the body of a successful status call; contents stay raw JSON values.

    Args:
        data: the envelope's `data`.
        asked: the id that was asked for. A reply may leave it out, but must not name another:
            what a mistaken cache answers is another file's contents.

    Raises:
        MalformedReply: the body is not an object, or about another file.
    """
    if not isinstance(data, dict):
        malformed("a status reply without a body")
    about = data.get("file_id")
    if about not in (None, "") and (told := text_of(about).strip()) != asked:
        malformed(f"the status of another file ({told[:50]!r} instead of {asked!r})")
    return StatusReply(
        status=number_of(data.get("status")),
        error_message=text_of(data.get("error_msg")),
        parse_content=data.get("parse_content"),
        llm_content=data.get("llm_content"),
    )


# --- what we send --------------------------------------------------------------------------------


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
