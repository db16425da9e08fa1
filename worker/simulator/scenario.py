"""The scenario: what the simulator offers, how it behaves, and which faults it shows.

A scenario is a TOML file (or the same as a dictionary, as JSON, or as a `Scenario`). Every key is
checked; what is wrong is told with one line per fault.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field, ValidationError, model_validator

from worker.errors import ConfigurationError
from worker.simulator.behaviours import Content, Early, Lognormal, Path_, Rule, Step, TimeToReady
from worker.simulator.mishaps import AnyFault
from worker.simulator.offers import CATEGORIES, Flow, OfferedCategory
from worker.simulator.parts import ScenarioPart
from worker.simulator.quirks import Quirks, with_presets


class Admittance(ScenarioPart):
    """Whom the simulator lets in, and how it shows others the door.

    `refuse_status` answers wrong credentials on every endpoint, except that `refuse_dialog =
    "frame"` lets the websocket come about and refuses inside the conversation.
    """

    robot_key: str = Field(default="demo-key", repr=False)
    robot_token: str = Field(default="demo-token", repr=False)
    username: str = Field(default="demo", repr=False)
    refuse_status: Literal[401, 403] = 401
    refuse_dialog: Literal["handshake", "frame"] = "handshake"


class Dialog(ScenarioPart):
    """How dialogs look.

    `history_bytes` pads the echoed history of the upload frame; `trailing_frames` sends "waiting
    for input" after it; `upload_in` says in which of the three places its content stands.
    """

    history_bytes: int = Field(default=0, ge=0)
    trailing_frames: bool = False
    upload_in: tuple[Literal["data", "answer", "top"], ...] = ("data", "answer", "top")


class Limits(ScenarioPart):
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


class Wire(ScenarioPart):
    """Liberties that the service takes: numbers as strings, and 0 for "000000"."""

    numbers_as_strings: bool = False
    code_as_integer: bool = False


class Scenario(Quirks):
    """Everything the simulator can be told. The defaults make a well-behaved service.

    `strict` insists on everything that the documents ask for; otherwise what clients of the live
    service are known to leave out or to spell in another way is taken as well.
    """

    strict: bool = False
    seed: int | None = None
    credentials: Admittance = Admittance()
    tenants: tuple[str, ...] = ("AiopsTest",)
    categories: tuple[OfferedCategory, ...] = Field(default=CATEGORIES, min_length=1)
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

    @model_validator(mode="before")
    @classmethod
    def _bring_presets(cls, given: Any) -> Any:
        return with_presets(given) if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _flows_fit(self) -> Scenario:
        known = {category.name for category in self.categories}
        for flow in self.flows:
            if unknown := set(flow.categories) - known:
                raise ValueError(f"flow {flow.name!r} names unknown categories {sorted(unknown)}")
        for path in (self.path, *(rule.path for rule in self.rules)):
            _check_path(path)
        return self

    def categories_of(self, flow: Flow) -> tuple[OfferedCategory, ...]:
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
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name}: {error}") from error


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "whole scenario"
