"""The faults that a scenario can ask for, each with the conditions on which it shows."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from worker.simulator.parts import ScenarioPart


class Fault(ScenarioPart):
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


class RedirectFault(Fault):
    """An HTTP redirect instead of the reply, as a gateway gives that knows another address."""

    do: Literal["redirect"]
    on: Literal["handshake", "upload", "status"]
    status: Literal[301, 302, 303, 307, 308] = 302
    location: str = "http://127.0.0.1:9/elsewhere/"


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
    | RedirectFault
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
