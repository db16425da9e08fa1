"""Frozen records that the core, the steps and the adapters hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

from worker.core.lifecycle import BatchState, FileState, Lane

BatchId = NewType("BatchId", UUID)
FileId = NewType("FileId", UUID)
UploadId = NewType("UploadId", UUID)
DialogId = NewType("DialogId", UUID)
LeaseToken = NewType("LeaseToken", UUID)
Crew = NewType("Crew", str)
"""Who attends to a file: the workers of a profile (`fleet`), or one embedded run (`run_crew`)."""

RUN_PREFIX = "run:"


def fleet(profile: str) -> Crew:
    """The crew of all distributed workers, for the files of one profile."""
    return Crew(profile)


def run_crew(batch: BatchId) -> Crew:
    """The crew of one embedded `run`: it alone touches the files of its batch."""
    return Crew(f"{RUN_PREFIX}{batch}")


def is_run(crew: Crew) -> bool:
    """Whether the crew is an embedded run, which gives up where a fleet would wait."""
    return crew.startswith(RUN_PREFIX)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the service knows us by; in no repr, log or traceback."""

    robot_key: str = field(repr=False)
    robot_token: str = field(repr=False)
    username: str = field(repr=False)


# --- what the service says -----------------------------------------------------------------------


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
    instruction: str
    language: str
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


@dataclass(frozen=True, slots=True)
class ErrorNote:
    """Why something did not go well: a short fixed code and words for an operator."""

    code: str
    message: str


# --- files and what becomes of them --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Examined:
    """A file that may be uploaded as far as its source can tell; size in bytes."""

    name: str
    size: int


class UploadState(StrEnum):
    """Where one upload stands in the ledger."""

    INTENT = "intent"  # written before anything is sent: a crash here sent nothing
    SENT = "sent"  # written before the first byte: a crash here is `unknown`
    ACCEPTED = "accepted"
    REFUSED = "refused"  # for certain not taken
    UNKNOWN = "unknown"
    WITHDRAWN = "withdrawn"  # never sent: the worker gave it back, or no connection came about


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One upload of a file as the ledger knows it."""

    id: UploadId
    state: UploadState
    chatflow_file_id: str | None = None
    service_status: int | None = None


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What a batch says about all of its files."""

    category: str | None = None
    inputs: str | None = None  # JSON object, as text


@dataclass(frozen=True, slots=True)
class ClaimedFile:
    """A file in hand: the caller holds its lease until the lease's end and no longer.

    Attributes:
        state: the state before the claim; a claim of the submit lane makes it `submitting`.
        upload_attempts: uploads that count against the limit since the file was handed in or
            retried (taken, refused or unknown).
        failures: calls in a row that failed, for the backoff.
        polls: status calls so far, since its last upload.
        age: seconds since the upload was accepted (poll lane, when it is due), else since the
            file was handed in.
        asked_age: that age when its status was asked for last, 0 when it never was.
        due_in: seconds until it should be asked for, should it have been claimed ahead of time.
        expired: whether the poll deadline is over by then (database time).
        parsed: whether status 5 was seen already and its contents are stored.
        last_upload: the ledger entry that decides what the file needs: the newest, or the newest
            that the service took if nothing was sent since whose end is open. None when there is
            none (submit lane only).
        deadline_in: seconds from when it is due to the poll deadline, None when none is set.
        deaths: how often in a row a worker died or froze while it held the file.
    """

    id: FileId
    batch_id: BatchId
    token: LeaseToken
    source: str
    name: str
    state: FileState
    options: BatchOptions
    upload_attempts: int = 0
    failures: int = 0
    polls: int = 0
    age: float = 0.0
    asked_age: float = 0.0
    due_in: float = 0.0
    expired: bool = False
    deadline_in: float | None = None
    parsed: bool = False
    deaths: int = 0
    size: int | None = None
    category: str | None = None
    chatflow_file_id: str | None = None
    service_status: int | None = None
    last_upload: LedgerEntry | None = None


@dataclass(frozen=True, slots=True)
class UploadResult:
    """How one upload of the ledger ended."""

    id: UploadId
    state: UploadState
    chatflow_file_id: str | None = None
    error: ErrorNote | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a file that was in hand: written in one transaction, fenced by the token.

    Attributes:
        state: the new state. Open states need `wait`; terminal states have none.
        wait: seconds from now (database time) until the file wants attention again.
        asked: whether a status call was made for it.
        failures: the new count of failed calls in a row.
        counts_attempt: whether an upload attempt was used up.
        contents: stored when given, whatever the state; what an earlier verdict stored stays
            when it is None.
        deadline: seconds from now until the poll deadline, set when polling begins.
        note: the word of a `file_events` row to write although the state stays the same, for a
            failed call or an unknown status ("poll_failed", "unknown_status", ...).
    """

    file: FileId
    token: LeaseToken
    state: FileState
    wait: float | None = None
    error: ErrorNote | None = None
    status: int | None = None
    contents: Contents | None = None
    chatflow_file_id: str | None = None
    upload: UploadResult | None = None
    asked: bool = False
    failures: int = 0
    counts_attempt: bool = False
    deadline: float | None = None
    name: str | None = None
    size: int | None = None
    sha256: str | None = None
    category: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """One upload about to be made, for the ledger, before anything is sent."""

    id: UploadId
    file: FileId
    token: LeaseToken
    category: str
    size: int


@dataclass(frozen=True, slots=True)
class Sending:
    """An upload whose first byte is sent as soon as the ledger says so."""

    profile: str
    file: FileId
    upload: UploadId


@dataclass(frozen=True, slots=True)
class DialogLoad:
    """A dialog session and the uploads that will use its places."""

    profile: str
    session: DialogSession
    intents: tuple[Intent, ...]


# --- batches -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to be created, or found again by its id.

    `notify` is the validated object of the caller ({"task", "queue"} or {"url"}), or None.
    `after` is a schedule's rule for a file whose result is stored ("leave", "delete", "move:DIR").
    """

    id: BatchId
    profile: str
    crew: Crew
    external_key: str | None = None
    options: BatchOptions = BatchOptions()
    notify: dict[str, str] | None = None
    after: str = "leave"


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """One batch as `status --json` tells it."""

    batch_id: BatchId
    external_key: str | None
    profile: str
    crew: Crew
    state: BatchState
    total: int
    counts: dict[FileState, int]
    started_at: datetime
    finished_at: datetime | None
    profile_state: str = "open"
    profile_reason: str | None = None
    oldest_in_flight: float | None = None  # seconds since the oldest open upload was accepted
    sealed: bool = True  # False while files are still being registered


@dataclass(frozen=True, slots=True)
class FileResult:
    """One line of `results`: the fields and their order are the outward contract."""

    batch_id: BatchId
    file_id: FileId
    source: str
    name: str
    size: int | None
    sha256: str | None
    category: str | None
    chatflow_file_id: str | None
    status: int | None
    state: FileState
    error_code: str | None
    error_message: str | None
    parse_content: str | None
    parse_segments: Any
    llm_content: str | None
    upload_attempts: int
    polls: int
    submitted_at: datetime | None
    finished_at: datetime | None
    sanitized: bool


@dataclass(frozen=True, slots=True)
class FileEvent:
    """One entry of a file's story."""

    at: datetime
    event: str
    state: FileState
    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class UploadEntry:
    """One upload of a file, for its story."""

    id: UploadId
    attempt: int
    state: UploadState
    category: str | None
    chatflow_dialog_id: str | None
    session_id: str | None
    chatflow_file_id: str | None
    code: str | None
    message: str | None
    created_at: datetime
    sent_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class FileStory:
    """All that is known about one file."""

    result: FileResult
    events: tuple[FileEvent, ...] = ()
    uploads: tuple[UploadEntry, ...] = ()


# --- the fleet -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """Work that waits: `wait` is the seconds until its first row is due, 0 when it is by now."""

    profile: str
    crew: Crew
    lane: Lane
    wait: float


@dataclass(frozen=True, slots=True)
class Overview:
    """What waits in the whole installation, for metrics.

    Attributes:
        open_files: by profile and state.
        oldest_due: seconds since the longest due file became due, by profile and lane.
        profiles: each known profile's state: "open", "frozen" or "paused".
        notifications: those neither delivered nor dead.
    """

    open_files: dict[tuple[str, FileState], int]
    oldest_due: dict[tuple[str, Lane], float]
    profiles: dict[str, str]
    notifications: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim brought.

    Attributes:
        files: the rows in hand, all with the same `token`.
        next_wait: when there was none: seconds until the next row of this crew and lane is due
            (None: none is left open), counting a freeze of the profile. 0 when there was some:
            the next claim tells.
        probing: True when the profile thaws: this one file is the probing call.
    """

    files: tuple[ClaimedFile, ...] = ()
    token: LeaseToken | None = None
    next_wait: float | None = None
    probing: bool = False


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification of the outbox, in hand under a lease."""

    id: int
    batch_id: BatchId
    target: dict[str, str]
    payload: dict[str, Any]
    attempts: int
    message_id: str


@dataclass(frozen=True, slots=True)
class SeenFile:
    """What a schedule remembers of a file it has handed in."""

    source: str
    size: int
    mtime_ns: int
    sha256: str = field(default="")


@dataclass(frozen=True, slots=True)
class FileKind:
    """Files that become ready in about the same time, as far as can be told beforehand."""

    category: str
    format: str
    size_class: int


@dataclass(frozen=True, slots=True)
class Observation:
    """A file was found ready at an age of `seconds`, and not yet at an age of `since`."""

    kind: FileKind
    seconds: float
    since: float


@dataclass(frozen=True, slots=True)
class Leftover:
    """An ingested file that its schedule wants deleted or moved, its result being stored."""

    file: FileId
    source: str
    rule: str  # "delete" or "move:DIR"
    size: int
    sha256: str
