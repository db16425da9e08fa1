"""What the machine of a dialog is told (events), and what it says to do (commands)."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.frames import Frame
from worker.core.model.wire import UploadNode
from worker.errors import IngestError


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """The connection stands."""


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """The service sent a frame."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class NoiseReceived:
    """The service sent what is no frame: no JSON, no JSON object, or a binary message."""


@dataclass(frozen=True, slots=True)
class Silence:
    """The time that the latest `Await` named is over."""


@dataclass(frozen=True, slots=True)
class HeartbeatDue:
    """Nothing was sent for a while."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The time for the whole dialog is over."""


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The connection is gone; `code` is None when it broke without a close frame."""

    code: int | None
    reason: str = ""


Event = (
    ConnectionOpened
    | FrameReceived
    | NoiseReceived
    | Silence
    | HeartbeatDue
    | DeadlinePassed
    | ConnectionClosed
)


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text frame."""

    text: str


@dataclass(frozen=True, slots=True)
class Await:
    """Report `Silence` in so many seconds unless another `Await` comes; None: never mind."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Done:
    """The upload node has arrived."""

    node: UploadNode
    dialog_id: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The dialog will not reach an upload node; `error` says what to do next."""

    error: IngestError


Command = Send | Await | Done | Failed
