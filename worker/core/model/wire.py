"""What goes over the wire, in our words: the dialog's outcome, an upload, a status."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from worker.core.model.ids import DialogId


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the service knows us by; in no repr, log or traceback."""

    robot_key: str = field(repr=False)
    robot_token: str = field(repr=False)
    username: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParseMethod:
    """One entry of a category's `customized_parse_methods`.

    `file_format` is kept as sent: "" means any format, and it may be a comma list.
    """

    file_format: str
    parse_model: str
    parse_prompt: str


@dataclass(frozen=True, slots=True)
class Category:
    """One file category that the upload node offers, in the service's order.

    `formats` are lower case without dots; `variable` is "" unless the category assigns one.
    """

    id: int
    name: str
    formats: tuple[str, ...]
    upload_max_num: int
    variable: str
    parse_methods: tuple[ParseMethod, ...] = ()


@dataclass(frozen=True, slots=True)
class UploadNode:
    """The upload node of a dialog: where and as what files may be uploaded."""

    flow_uuid: str
    session_id: str
    node_id: str
    categories: tuple[Category, ...]


@dataclass(frozen=True, slots=True)
class DialogSession:
    """One opened dialog that reached its upload node.

    `chatflow_dialog_id` is the service's id as text: it exceeds 2^53 and is kept exact.
    """

    id: DialogId
    chatflow_dialog_id: str | None
    node: UploadNode


@dataclass(frozen=True, slots=True)
class UploadForm:
    """The text fields of one upload, apart from credentials, tenant and user name."""

    flow_uuid: str
    extra_params: str
    file_name: str
    file_format: str
    parse_model: str
    parse_prompt: str
    inputs: str | None = None


@dataclass(frozen=True, slots=True)
class UploadReply:
    """The service took an upload; `chatflow_file_id` is what its status is asked by."""

    chatflow_file_id: str
    status: int | None


@dataclass(frozen=True, slots=True)
class StatusReply:
    """The service's word on one file.

    `status` is the number as sent, also when the protocol does not name it. The contents are
    the raw JSON values: text, list, or None.
    """

    status: int | None
    error_message: str
    parse_content: Any
    llm_content: Any


@dataclass(frozen=True, slots=True)
class Contents:
    """What the service extracted from a file, fit for any database.

    Attributes:
        parse_text: `parse_content` as sent (a real list or object as JSON text), or None.
        segments: the decoded JSON value of it, None when it is plain text.
        llm_text: `llm_content`, likewise as text.
        sanitized: True when a NUL or lone surrogate was replaced by U+FFFD in either text.
    """

    parse_text: str | None
    segments: Any
    llm_text: str | None
    sanitized: bool = False
