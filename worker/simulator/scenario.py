"""The scenario: what the simulator offers, how it behaves, and which faults it shows.

A scenario is a TOML file (or the same as a dictionary, as JSON, or as a `Scenario`). Every key is
checked; what is wrong is told with one line per fault.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from worker.errors import ConfigurationError

TEST_FLOW = "4cc96904-049f-11f0-80e7-0e8133e180cd"


class Part(BaseModel):
    """A piece of a scenario: unknown keys are mistakes, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Credentials(Part):
    """Whom the simulator lets in, and how it shows others the door.

    `refuse_status` answers wrong credentials on every endpoint, except that `refuse_dialog =
    "frame"` lets the websocket come about and refuses inside the conversation.
    """

    robot_key: str = Field(default="demo-key", repr=False)
    robot_token: str = Field(default="demo-token", repr=False)
    username: str = Field(default="demo", repr=False)
    refuse_status: Literal[401, 403] = 401
    refuse_dialog: Literal["handshake", "frame"] = "handshake"


class ParseMethod(Part):
    """One customized parse method, in the words of the wire."""

    file_format: str = ""
    parse_model: str = "text"
    parse_prompt: str = ""


class Category(Part):
    """One upload category, in the words of the wire."""

    id: int = Field(ge=0)
    name: str = Field(min_length=1)
    support_formats: str
    upload_max_num: int = Field(default=5, ge=0)
    variable_assign_enable: bool = True
    variable_assign: str = ""
    customized_parse_methods: tuple[ParseMethod, ...] = (ParseMethod(),)

    @property
    def variable(self) -> str:
        """What an upload's `extra_params` must say."""
        return self.variable_assign if self.variable_assign_enable else ""

    def takes(self, file_name: str) -> bool:
        """Whether the file's ending is among the formats; `text` and `txt` are the same."""
        offered = {_plain(word) for word in self.support_formats.split(",")}
        return _plain(file_name.rpartition(".")[2]) in offered


def _plain(file_format: str) -> str:
    bare = file_format.strip().lstrip(".").lower()
    return "txt" if bare == "text" else bare


class Flow(Part):
    """A chatflow: the questions that open it (none: any) and its categories (none: all)."""

    uuid: str = Field(default=TEST_FLOW, min_length=1)
    name: str = "file intake"
    questions: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


class Dialog(Part):
    """How dialogs look.

    `history_bytes` pads the echoed history of the upload frame; `trailing_frames` sends "waiting
    for input" after it; `upload_in` says in which of the three places its content stands.
    """

    history_bytes: int = Field(default=0, ge=0)
    trailing_frames: bool = False
    upload_in: tuple[Literal["data", "answer", "top"], ...] = ("data", "answer", "top")


class Lognormal(Part):
    """Time to ready with this median and 95th percentile, seconds."""

    kind: Literal["lognormal"]
    median: float = Field(gt=0)
    p95: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Lognormal:
        if self.p95 < self.median:
            raise ValueError("p95 must not be below median")
        return self


class Fixed(Part):
    """The same time to ready for every file, seconds."""

    kind: Literal["fixed"]
    seconds: float = Field(ge=0)


class Immediate(Part):
    """Ready as soon as it has been uploaded."""

    kind: Literal["none"]


TimeToReady: TypeAlias = Annotated[Lognormal | Fixed | Immediate, Field(discriminator="kind")]


class Step(Part):
    """A status and when it begins, as a multiple of the file's time to ready."""

    status: int
    at: float = Field(ge=0)


Shape: TypeAlias = Literal[
    "python_repr",
    "broken_repr",
    "fenced",
    "json",
    "list",
    "text",
    "dirty",
    "value",
    "empty_list",
    "empty_text",
    "null",
]


class Content(Part):
    """What `parse_content` or `llm_content` hold, and in which of the shapes seen in the wild.

    `segments` feed the shapes that carry JSON, `text` feeds `text`, `value` is sent as it is.
    `{file_name}` in them becomes the file's name. `size` pads the content to about so many
    characters.
    """

    shape: Shape
    segments: tuple[dict[str, JsonValue], ...] = (
        {"text": "message1 of {file_name}", "speaker_id": 0},
        {"text": "message2", "speaker_id": 1},
        {"text": "message3", "speaker_id": 1},
    )
    text: str = "The text of {file_name}."
    value: JsonValue = None
    size: int = Field(default=0, ge=0)


Early: TypeAlias = Literal["null", "empty_text", "empty_list", "half"]
Path_: TypeAlias = tuple[int | Step, ...]


class Behaviour(Part):
    """How a file fares once it was taken; keys left out fall back to the scenario's own."""

    time_to_ready: TimeToReady | None = None
    path: Path_ | None = Field(default=None, min_length=1)
    error_msg: str | None = None
    parse_content: Content | None = None
    llm_content: Content | None = None
    early_content: Early | None = None


class Rule(Behaviour):
    """A behaviour of its own for files whose name matches; the first rule that matches counts.

    `uploads` narrows it to the first (1), second (2) and so on upload of a name.
    """

    file_name: str = Field(min_length=1)
    uploads: tuple[Annotated[int, Field(ge=1)], ...] | None = None


class Fault(Part):
    """When a fault shows; all conditions given must hold.

    `calls` (1 is the first), `first` and `every` count the calls that the file name and `between`
    let through; `per_file` counts them for each file apart. `between` is in seconds since the
    scenario was loaded.
    """

    on: Literal["handshake", "dialog", "upload", "status"]
    file_name: str | None = None
    calls: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    first: int | None = Field(default=None, ge=1)
    every: int | None = Field(default=None, ge=1)
    per_file: bool = False
    probability: float | None = Field(default=None, ge=0, le=1)
    between: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _names_fit(self) -> Fault:
        if self.on in {"handshake", "dialog"} and (self.file_name or self.per_file):
            raise ValueError(f"file_name and per_file mean nothing on {self.on!r}")
        return self


class HttpFault(Fault):
    """An HTTP status instead of the reply; `taken`: the upload was recorded before."""

    do: Literal["http"]
    on: Literal["handshake", "upload", "status"]
    status: int = Field(ge=400, le=599)
    retry_after: float | str | None = None
    taken: bool = False


class CodeFault(Fault):
    """HTTP 200 with another envelope code; `taken`: the upload was recorded before.

    On a dialog an error frame; `inside`: the code of a flow event in a successful envelope.
    """

    do: Literal["code"]
    on: Literal["dialog", "upload", "status"]
    code: str | int = "400000"
    message: str = "error"
    inside: bool = False
    taken: bool = False


class SlowFault(Fault):
    """So many seconds before the reply (of an upload: after it was recorded); others still show."""

    do: Literal["slow"]
    seconds: float = Field(ge=0)


class ResetFault(Fault):
    """The connection is reset instead of a reply; `taken`: the upload was recorded before."""

    do: Literal["reset"]
    taken: bool = False
    after_frames: int = Field(default=2, ge=0)


class GarbageFault(Fault):
    """HTTP 200, or a frame, with a body that is no envelope."""

    do: Literal["garbage"]
    on: Literal["dialog", "upload", "status"]
    body: str = "<html><body>gateway</body></html>"
    taken: bool = False


class CloseFault(Fault):
    """The dialog's connection is closed with a code after so many frames."""

    do: Literal["close"]
    on: Literal["dialog"]
    code: int = Field(default=1011, ge=1000, le=4999)
    reason: str = ""
    after_frames: int = Field(default=2, ge=0)


class SilenceFault(Fault):
    """After so many frames the conversation says nothing more; heartbeats are still answered."""

    do: Literal["silence"]
    on: Literal["dialog"]
    after_frames: int = Field(default=2, ge=0)
    heartbeat: bool = True


class NoUploadNodeFault(Fault):
    """The conversation ends (`002005` round over, `002001` flow left) without an upload node."""

    do: Literal["no_upload_node"]
    on: Literal["dialog"]
    code: Literal["002001", "002005"] = "002005"


class ErrorTextFault(Fault):
    """A text in a successful envelope says that something went wrong; then the round is over."""

    do: Literal["error_text"]
    on: Literal["dialog"]
    text: str = "系统异常(50012)"


class LimitsFault(Fault):
    """The upload node names other maxima for these categories."""

    do: Literal["limits"]
    on: Literal["dialog"]
    upload_max_num: dict[str, Annotated[int, Field(ge=0)]]


AnyFault: TypeAlias = Annotated[
    HttpFault
    | CodeFault
    | SlowFault
    | ResetFault
    | GarbageFault
    | CloseFault
    | SilenceFault
    | NoUploadNodeFault
    | ErrorTextFault
    | LimitsFault,
    Field(discriminator="do"),
]


class Limits(Part):
    """What the service bears: calls a second (burst of one second), uploads at once, file size.

    Calls above a limit get 429 with `retry_after` seconds. `enforce_places` refuses an upload for
    which no dialog has offered a place (`upload_max_num` of the dialogs opened so far).
    """

    dialogs_per_second: float | None = Field(default=None, gt=0)
    uploads_per_second: float | None = Field(default=None, gt=0)
    status_calls_per_second: float | None = Field(default=None, gt=0)
    concurrent_uploads: int | None = Field(default=None, ge=1)
    retry_after: float | str | None = 1
    max_file_bytes: int | None = Field(default=None, ge=1)
    enforce_places: bool = False


class Wire(Part):
    """Liberties that the service takes: numbers as strings, and 0 for "000000"."""

    numbers_as_strings: bool = False
    code_as_integer: bool = False


CATEGORIES = (
    Category(id=77, name="Audio test", support_formats="wav", variable_assign="test_vvv"),
    Category(
        id=78,
        name="Document",
        support_formats="pdf, DOCX,.doc,text",
        variable_assign="document_text",
        customized_parse_methods=(
            ParseMethod(parse_model="text"),
            ParseMethod(file_format="pdf", parse_model="layout", parse_prompt="Keep the tables."),
        ),
    ),
    Category(
        id=79,
        name="Image",
        support_formats="png,jpg",
        upload_max_num=3,
        variable_assign="image_text",
        customized_parse_methods=(ParseMethod(parse_model="vision", parse_prompt="Describe it."),),
    ),
)


class Scenario(Part):
    """Everything the simulator can be told. The defaults make a well-behaved service."""

    seed: int | None = None
    credentials: Credentials = Credentials()
    tenants: tuple[str, ...] = ("AiopsTest",)
    categories: tuple[Category, ...] = Field(default=CATEGORIES, min_length=1)
    flows: tuple[Flow, ...] = Field(default=(Flow(),), min_length=1)
    dialog: Dialog = Dialog()
    time_to_ready: TimeToReady = Lognormal(kind="lognormal", median=2, p95=6)
    path: Path_ = Field(default=(1, 2, 4, 5), min_length=1)
    parse_content: Content = Content(shape="python_repr")
    llm_content: Content = Content(shape="null")
    early_content: Early = "null"
    rules: tuple[Rule, ...] = ()
    faults: tuple[AnyFault, ...] = ()
    limits: Limits = Limits()
    wire: Wire = Wire()

    @model_validator(mode="after")
    def _flows_fit(self) -> Scenario:
        known = {category.name for category in self.categories}
        for flow in self.flows:
            if unknown := set(flow.categories) - known:
                raise ValueError(f"flow {flow.name!r} names unknown categories {sorted(unknown)}")
        for path in (self.path, *(rule.path for rule in self.rules)):
            _check_path(path)
        return self

    def categories_of(self, flow: Flow) -> tuple[Category, ...]:
        """The categories that a flow's upload node offers, in the scenario's order."""
        if not flow.categories:
            return self.categories
        return tuple(category for category in self.categories if category.name in flow.categories)


def _check_path(path: Path_ | None) -> None:
    times = [step.at for step in path or () if isinstance(step, Step)]
    if times and len(times) != len(path or ()):
        raise ValueError("a path is either all numbers or all {status, at}")
    if times != sorted(times) or (times and times[0] != 0):
        raise ValueError("the times of a path must begin at 0 and ascend")


ScenarioSource: TypeAlias = "Scenario | Path | str | dict[str, Any] | None"
"""A scenario, a TOML file (a `Path`), TOML text (a `str`), a dictionary, or None: the defaults."""


def load_scenario(source: ScenarioSource = None) -> Scenario:
    """Read and check a scenario.

    Raises:
        ConfigurationError: it can't be read or says something impossible; one line per fault.
    """
    if isinstance(source, Scenario):
        return source
    name = str(source) if isinstance(source, Path) else "scenario"
    return check_scenario(_tables(source, name), name)


def check_scenario(tables: dict[str, Any], name: str = "scenario") -> Scenario:
    """Check what has been read already.

    Raises:
        ConfigurationError: as `load_scenario`.
    """
    try:
        return Scenario.model_validate(tables)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        lines = (f"{name}: {_place(fault['loc'])}: {fault['msg']}" for fault in faults)
        raise ConfigurationError(*lines) from None


def _tables(source: Path | str | dict[str, Any] | None, name: str) -> dict[str, Any]:
    try:
        match source:
            case None:
                return {}
            case Path():
                return tomllib.loads(source.read_text(encoding="utf-8"))
            case str():
                return tomllib.loads(source)
            case _:
                return source
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{name}: {error}") from error


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "whole scenario"
