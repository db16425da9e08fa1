"""How a file fares once it was taken: its way through the statuses, and what it brings."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue, model_validator

from worker.simulator.parts import ScenarioPart


class Lognormal(ScenarioPart):
    """Time to ready with this median and 95th percentile, seconds."""

    kind: Literal["lognormal"]
    median: float = Field(gt=0)
    p95: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Lognormal:
        if self.p95 < self.median:
            raise ValueError("p95 must not be below median")
        return self


class Fixed(ScenarioPart):
    """The same time to ready for every file, seconds."""

    kind: Literal["fixed"]
    seconds: float = Field(ge=0)


class Immediate(ScenarioPart):
    """Ready as soon as it has been uploaded."""

    kind: Literal["none"]


TimeToReady: TypeAlias = Annotated[Lognormal | Fixed | Immediate, Field(discriminator="kind")]


class Step(ScenarioPart):
    """A status and when it begins, as a multiple of the file's time to ready.

    `early`: although the status is one of 5 to 8, the contents are those of a file on its way.
    """

    status: int
    at: float = Field(ge=0)
    early: bool = False


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


class Content(ScenarioPart):
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


class Behaviour(ScenarioPart):
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
