"""The dialog conversation as a machine without I/O: events in, commands out.

It knows neither sockets nor clocks. The adapter feeds it what happened and obeys what it says::

    Opened           -> Send(question)
    FrameReceived    -> nothing | Await | Send(what follows a jump) | Done | Failed
    NoiseReceived    -> nothing
    Silence          -> Send(what follows a jump) | Failed
    HeartbeatDue     -> Send(heartbeat)
    DeadlinePassed   -> Failed
    ConnectionClosed -> Failed

Almost every frame of a flow carries `finish: "y"`, so that says nothing about the dialog's end:
the dialog is done when the upload node has arrived. Some things look like the end and need not
be: a reply that is finished before any flow was entered, a node that waits for input, a jump to
another flow. They count when silence follows, for the upload node may still come.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from typing import assert_never

from worker.core.dialog_events import (
    Await,
    Command,
    ConnectionClosed,
    ConnectionOpened,
    DeadlinePassed,
    Done,
    Event,
    Failed,
    FrameReceived,
    HeartbeatDue,
    NoiseReceived,
    Send,
    Silence,
)
from worker.core.frames import (
    ErrorFrame,
    FlowEvent,
    Frame,
    Heartbeat,
    Notice,
    Other,
    QuestionAccepted,
    TaskAccepted,
    Text,
)
from worker.core.messages import HEARTBEAT, refuses_credentials
from worker.core.speech import Speech, understand
from worker.errors import CredentialsRefused, IngestError, NoUploadNode, ServiceFault

FLOW_ENTERED = "002000"
FLOW_LEFT = "002001"
NODE_ENTERED = "002002"
DEBUG = "002003"
WAITING = "002004"
ROUND_OVER = "002005"
JUMP = "002007"
QUIET_SECONDS = 2.0
"""Silence after which what looks like the end of a dialog is taken to be it."""
JUMP_SECONDS = 1.0
"""Silence after which a jump is taken to wait for us; a working client waits about as long."""
MOST_JUMPS = 3
"""Jumps of one dialog that are followed; flows that send each other in circles end there."""
SYSTEM_ERROR = "系统异常("
"""An answer that holds this is a system error, although its envelope says success."""
RISK_CONTROL = "涉及到风险"
"""An answer that holds this was blocked by risk control."""
REFUSING_CLOSE_CODES = frozenset({1008, 4401, 4403})
"""Policy violation, and the private codes that stand for HTTP's 401 and 403."""
TEMPORARY_CLOSE_CODES = frozenset({1011, 1012, 1013})
"""Internal error, restart, overload: the dialog is opened again, whatever words come along."""
NORMAL_CLOSURE = 1000
_REMEMBERED_WORDS = 500
_ADVICE = "see CHATFLOW_QUESTION and CHATFLOW_FLOW_UUID"


class _Standing(Enum):
    """What the latest frames leave open; the value says how it reads when it is the end."""

    UNDER_WAY = "the dialog ended without an upload node"
    CHATTED = "the question opened no flow, the robot merely answered it"
    ASKED = "the flow waits for input that nobody can give"
    JUMPING = "the flow jumped to another one that never began"
    LATE_END = "the flow that was jumped to brought no upload node"


_PATIENCE: dict[_Standing, float | None] = {
    _Standing.UNDER_WAY: None,
    _Standing.CHATTED: QUIET_SECONDS,
    _Standing.ASKED: QUIET_SECONDS,
    _Standing.JUMPING: JUMP_SECONDS,
    _Standing.LATE_END: QUIET_SECONDS,
}


class Conversation:
    """One conversation, from its question to the upload node.

    Attributes:
        dialog_id: the service's id of the dialog as exact text, once it is known.
        heard: whether any frame of this conversation has arrived.
        jumps: jumps to another flow that were followed.
        noises: messages so far that were no frames.
    """

    def __init__(
        self,
        question: str,
        follow: Callable[[str | None], str],
        *,
        former: Collection[str] = (),
        redact: Callable[[str], str] = str,
    ) -> None:
        """Prepare a conversation.

        Args:
            question: the opening frame, as text.
            follow: the frame that goes along with a jump: into the flow of this uuid, or, given
                None, the question once more with nothing in it.
            former: ids of the dialogs that this connection has carried before. Their late
                frames (the round is over, the flow was left) must not end this one.
            redact: takes credentials out of the service's words before they enter an error.
        """
        self.dialog_id: str | None = None
        self.heard = False
        self.jumps = 0
        self.noises = 0
        self._question = question
        self._follow_frame = follow
        self._former = frozenset(former)
        self._reused = bool(former)
        self._redact = redact
        self._words: list[str] = []
        self._standing = _Standing.UNDER_WAY
        self._in_flow = False
        self._target: str | None = None
        self._has_followed = False  # and nothing of what follows has been heard yet
        self._is_timed = False  # the adapter was told to await silence
        self._over = False

    def handle(self, event: Event) -> tuple[Command, ...]:
        """Take one event and say what to do; nothing any more once it is done or failed."""
        if self._over:
            return ()
        commands = self._react(event)
        self._over = any(isinstance(command, Done | Failed) for command in commands)
        return commands

    def _react(self, event: Event) -> tuple[Command, ...]:
        match event:
            case ConnectionOpened():
                return (Send(self._question),)
            case FrameReceived(frame):
                return self._listen(frame) if self._is_ours(frame) else ()
            case NoiseReceived():
                self.noises += 1
                return ()
            case Silence():
                return self._go_on_from_silence()
            case HeartbeatDue():
                return (Send(HEARTBEAT),)
            case DeadlinePassed():
                return (Failed(self._out_of_time()),)
            case ConnectionClosed(code, reason):
                return (Failed(self._closed(code, reason)),)
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

    def _listen(self, frame: Frame) -> tuple[Command, ...]:
        self.heard = True
        self.dialog_id = frame.dialog_id or self.dialog_id
        match frame:
            case FlowEvent():
                return self._attend(frame)
            case Text():
                return self._hear_out(frame)
            case ErrorFrame(code, message):
                return (Failed(self._refused(code, message)),)
            case TaskAccepted() | QuestionAccepted():
                self._has_followed = False
                return ()
            case Notice() | Heartbeat() | Other():
                return ()
            case _:
                assert_never(frame)

    # --- frames ---

    def _attend(self, event: FlowEvent) -> tuple[Command, ...]:
        if event.node is not None:
            return (Done(event.node, self.dialog_id),)
        if not event.code.startswith("00") and event.code:
            return (Failed(self._refused(event.code, event.words)),)
        said = Speech("") if event.code == DEBUG else understand(event.words)
        if complaint := self._remember(said.words):
            return (complaint,)
        if event.code in {FLOW_ENTERED, NODE_ENTERED}:
            self._standing, self._has_followed = _Standing.UNDER_WAY, False
        self._note(said, jumps=event.jumps or event.code == JUMP, waits=event.waits)
        if event.code in {FLOW_LEFT, ROUND_OVER}:
            return self._end_of_round(event.code)
        self._in_flow = True
        if self._standing is _Standing.CHATTED:
            self._standing = _Standing.UNDER_WAY
        if event.code == WAITING and self._standing is not _Standing.JUMPING:
            self._standing = _Standing.ASKED
        return self._patience()

    def _hear_out(self, frame: Text) -> tuple[Command, ...]:
        said = understand(frame.text)
        if complaint := self._remember(said.words):
            return (complaint,)
        self._note(said)
        if not self._in_flow and self._standing in {_Standing.UNDER_WAY, _Standing.CHATTED}:
            is_system = frame.text.strip() and not said.words.strip()
            if frame.finished and not is_system:
                self._standing = _Standing.CHATTED
            elif said.words.strip():
                self._standing = _Standing.UNDER_WAY
        return self._patience()

    def _note(self, said: Speech, *, jumps: bool = False, waits: bool = False) -> None:
        """Keep what a frame says of jumps and of input that is waited for."""
        if said.jumps or jumps:
            self._standing = _Standing.JUMPING
            self._target = said.target or self._target
        elif (said.waits or waits) and self._standing is not _Standing.JUMPING:
            self._standing = _Standing.ASKED

    def _patience(self) -> tuple[Command, ...]:
        """How long silence may last from here on; nothing to say when that is how it was."""
        seconds = _PATIENCE[self._standing]
        if seconds is None and not self._is_timed:
            return ()
        self._is_timed = seconds is not None
        return (Await(seconds),)

    def _end_of_round(self, code: str) -> tuple[Command, ...]:
        """The flow was left, or the round is over: the end, unless a jump makes it a beginning."""
        if self._standing is _Standing.JUMPING:
            return self._follow() if code == ROUND_OVER else self._patience()
        if self._has_followed:  # may well be the end of the flow that was jumped out of
            self._standing = _Standing.LATE_END
            return self._patience()
        if self._standing is _Standing.UNDER_WAY:
            words = f"the dialog ended ({code}) without an upload node; {_ADVICE}"
            return (Failed(NoUploadNode(self._say(words))),)
        return (Failed(self._ended()),)

    # --- what follows silence ---

    def _go_on_from_silence(self) -> tuple[Command, ...]:
        if self._standing is _Standing.UNDER_WAY:
            return ()
        if self._standing is _Standing.JUMPING:
            return self._follow()
        return (Failed(self._ended()),)

    def _follow(self) -> tuple[Command, ...]:
        """Go along with a jump.

        Observed with working clients: one opens the flow that the text names directly; another,
        where none is named, sends the question again with nothing in it; both on the connection
        of the first question.
        """
        if self.jumps == MOST_JUMPS:
            words = f"the flow jumped on after {MOST_JUMPS} jumps without an upload node; {_ADVICE}"
            return (Failed(NoUploadNode(self._say(words))),)
        frame = self._follow_frame(self._target)
        self.jumps += 1
        self._standing, self._target = _Standing.UNDER_WAY, None
        self._in_flow, self._has_followed = False, True
        return (*self._patience(), Send(frame))

    def _ended(self) -> NoUploadNode:
        return NoUploadNode(self._say(f"{self._standing.value}; {_ADVICE}"))

    def _out_of_time(self) -> IngestError:
        if self._standing in {_Standing.CHATTED, _Standing.ASKED, _Standing.LATE_END}:
            return self._ended()
        noise = f" ({self.noises} messages were no frames)" if self.noises else ""
        return ServiceFault(self._say(f"no upload node before the deadline{noise}"))

    # --- words ---

    def _remember(self, text: str) -> Failed | None:
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
        speaks_of_them = code not in TEMPORARY_CLOSE_CODES and refuses_credentials("", reason)
        if code in REFUSING_CLOSE_CODES or speaks_of_them:
            return CredentialsRefused(f"the service closed the connection: {words}")
        if code == NORMAL_CLOSURE and self._standing in {_Standing.CHATTED, _Standing.ASKED}:
            return self._ended()
        if code == NORMAL_CLOSURE and self.heard:
            return NoUploadNode(self._say("the service closed the dialog without an upload node"))
        if code is None:
            return ServiceFault(self._say("the connection broke before the upload node"))
        return ServiceFault(self._say(f"the service closed the connection: {words}"))

    def _say(self, what: str) -> str:
        said = self._redact("".join(self._words).strip())[:_REMEMBERED_WORDS]
        return f"{what}; it said: {said}" if said else what
