"""The dialog conversation as a machine without I/O: events in, commands out.

It knows neither sockets nor clocks. The adapter feeds it what happened and obeys what it says::

    Opened           -> Send(question)
    FrameReceived    -> nothing | Done | Failed
    HeartbeatDue     -> Send(heartbeat)
    DeadlinePassed   -> Failed
    ConnectionClosed -> Failed

Almost every frame of a flow carries `finish: "y"`, so that says nothing about the dialog's end:
the dialog is done when the upload node has arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import assert_never

from worker.core.messages import (
    HEARTBEAT,
    ErrorFrame,
    FlowEvent,
    Frame,
    Heartbeat,
    Notice,
    Other,
    QuestionAccepted,
    TaskAccepted,
    Text,
    refuses_credentials,
)
from worker.core.model import UploadNode
from worker.errors import CredentialsRefused, IngestError, NoUploadNode, ServiceFault

FLOW_LEFT = "002001"
ROUND_OVER = "002005"
SYSTEM_ERROR = "系统异常("
"""An answer that holds this is a system error, although its envelope says success."""
RISK_CONTROL = "涉及到风险"
"""An answer that holds this was blocked by risk control."""
REFUSING_CLOSE_CODES = frozenset({1008, 4401, 4403})
"""Policy violation, and the private codes that stand for HTTP's 401 and 403."""
NORMAL_CLOSURE = 1000
_REMEMBERED_WORDS = 500


@dataclass(frozen=True, slots=True)
class Opened:
    """The connection stands."""


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """The service sent a frame."""

    frame: Frame


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


Event = Opened | FrameReceived | HeartbeatDue | DeadlinePassed | ConnectionClosed


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text frame."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The upload node has arrived."""

    node: UploadNode
    dialog_id: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The dialog will not reach an upload node; `error` says what to do next."""

    error: IngestError


Command = Send | Done | Failed


class Conversation:
    """One conversation, from its question to the upload node.

    Attributes:
        dialog_id: the service's id of the dialog as exact text, once it is known.
        heard: whether any frame of this conversation has arrived.
    """

    def __init__(
        self,
        question: str,
        *,
        former: Collection[str] = (),
        redact: Callable[[str], str] = str,
    ) -> None:
        """Prepare a conversation.

        Args:
            question: the opening frame, as text.
            former: ids of the dialogs that this connection has carried before. Their late
                frames (the round is over, the flow was left) must not end this one.
            redact: takes credentials out of the service's words before they enter an error.
        """
        self.dialog_id: str | None = None
        self.heard = False
        self._question = question
        self._former = frozenset(former)
        self._reused = bool(former)
        self._redact = redact
        self._words: list[str] = []
        self._over = False

    def handle(self, event: Event) -> tuple[Command, ...]:
        """Take one event and say what to do; nothing any more once it is done or failed."""
        if self._over:
            return ()
        command = self._react(event)
        self._over = isinstance(command, Done | Failed)
        return () if command is None else (command,)

    def _react(self, event: Event) -> Command | None:
        match event:
            case Opened():
                return Send(self._question)
            case FrameReceived(frame):
                return self._listen(frame) if self._is_ours(frame) else None
            case HeartbeatDue():
                return Send(HEARTBEAT)
            case DeadlinePassed():
                return Failed(ServiceFault(self._say("no upload node before the deadline")))
            case ConnectionClosed(code, reason):
                return Failed(self._closed(code, reason))
            case _:
                assert_never(event)

    def _is_ours(self, frame: Frame) -> bool:
        """Whether a frame belongs to this conversation, not to the connection's former ones."""
        if isinstance(frame, Heartbeat) or frame.dialog_id in self._former:
            return False
        if self._reused and not self.heard and frame.dialog_id is None:
            # A late frame without an id could be anybody's; an error is worth listening to.
            return isinstance(frame, TaskAccepted | QuestionAccepted | ErrorFrame)
        return True

    def _listen(self, frame: Frame) -> Command | None:
        self.heard = True
        self.dialog_id = self.dialog_id or frame.dialog_id
        match frame:
            case FlowEvent():
                return self._follow(frame)
            case ErrorFrame(code, message):
                return Failed(self._refused(code, message))
            case Text(text):
                return self._hear(text)
            case TaskAccepted() | QuestionAccepted() | Notice() | Heartbeat() | Other():
                return None
            case _:
                assert_never(frame)

    def _follow(self, event: FlowEvent) -> Command | None:
        if event.node is not None:
            return Done(event.node, self.dialog_id)
        if not event.code.startswith("00") and event.code:
            return Failed(self._refused(event.code, event.words))
        if complaint := self._hear(event.words):
            return complaint
        if event.code in {FLOW_LEFT, ROUND_OVER}:
            return Failed(
                NoUploadNode(self._say(f"the dialog ended ({event.code}) without an upload node"))
            )
        return None

    def _hear(self, text: str) -> Failed | None:
        """Keep spoken words for diagnosis; some of them are errors in disguise.

        A reply is spoken in pieces, so a marker is looked for in all that was said.
        """
        if not text:
            return None
        self._words.append(text)
        said = "".join(self._words)[-4 * _REMEMBERED_WORDS :]
        self._words = [said]
        if SYSTEM_ERROR in said:
            return Failed(self._refused("", said[said.index(SYSTEM_ERROR) :]))
        if RISK_CONTROL in said:
            return Failed(NoUploadNode(self._say("risk control blocked the dialog")))
        return None

    def _refused(self, code: str, message: str) -> IngestError:
        words = self._redact(f"{code} {message}".strip()) or "no reason given"
        if refuses_credentials(code, message):
            return CredentialsRefused(f"the service refuses the credentials: {words}")
        return NoUploadNode(f"the service answered with an error: {words}")

    def _closed(self, code: int | None, reason: str) -> IngestError:
        words = self._redact(f"close code {code} {reason}".strip())
        if code in REFUSING_CLOSE_CODES or refuses_credentials("", reason):
            return CredentialsRefused(f"the service closed the connection: {words}")
        if code == NORMAL_CLOSURE and self.heard:
            return NoUploadNode(self._say("the service closed the dialog without an upload node"))
        if code is None:
            return ServiceFault(self._say("the connection broke before the upload node"))
        return ServiceFault(self._say(f"the service closed the connection: {words}"))

    def _say(self, what: str) -> str:
        said = self._redact("".join(self._words).strip())[:_REMEMBERED_WORDS]
        return f"{what}; it said: {said}" if said else what
