"""What a row of the fault matrix is, and how rows stand together."""

from dataclasses import dataclass, field
from typing import Literal

from tests.matrix.faults import Fault

Endpoint = Literal["dialog", "upload", "status"]
State = Literal["succeeded", "partial", "failed", "timed_out", "rejected"]


@dataclass(frozen=True)
class Cell:
    """One fault and the end of the one file that meets it.

    Attributes:
        does: what the service does, in words.
        fault: how the stand-in does it; several of them meet one call each, in turn.
        state, code: how the file ends.
        uploads: uploads of the file that the service saw.
        again: whether the call is made again.
        says: part of the file's error message.
        keeps: part of the contents that are stored.
    """

    does: str
    fault: Fault | tuple[Fault, ...]
    state: State
    code: str | None
    uploads: int
    again: bool
    says: str = ""
    keeps: str = ""

    @property
    def exit(self) -> int:
        """How a `run` of this file alone ends."""
        return 0 if self.state == "succeeded" else 1


@dataclass(frozen=True)
class Group:
    """Cells that share what is set, and how often the service misbehaves.

    Attributes:
        often: so many calls of each file meet the fault; None means every one.
        settings: variables, set as a user sets them.
        alone: each cell needs a `run` of its own, since it concerns all files; else all share one.
    """

    title: str
    endpoint: Endpoint
    often: int | None
    cells: tuple[Cell, ...]
    settings: dict[str, str] = field(default_factory=dict)
    alone: bool = False
