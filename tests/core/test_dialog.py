import pytest

from worker.core import dialog
from worker.core.dialog import Conversation, Done, Failed, FrameReceived, Send
from worker.core.messages import (
    HEARTBEAT,
    ErrorFrame,
    FlowEvent,
    Heartbeat,
    Notice,
    Other,
    QuestionAccepted,
    TaskAccepted,
    Text,
)
from worker.core.model import UploadNode
from worker.errors import CredentialsRefused, NoUploadNode, ServiceFault

NODE = UploadNode("flow", "session", "node", "Upload", "zh", ())
OLD, NEW = "1017340986451495205", "1017340986451495206"


def event(code, words="", node=None, dialog_id=NEW):
    return FlowEvent(code, words, node, dialog_id)


def play(*frames, conversation=None):
    """Feed frames to a conversation that has begun; return its last commands."""
    conversation = conversation or Conversation("question")
    commands = conversation.handle(dialog.Opened())
    for frame in frames:
        commands = conversation.handle(FrameReceived(frame))
    return commands


def failure(commands):
    (failed,) = commands
    assert isinstance(failed, Failed)
    return failed.error


def test_it_begins_with_the_question():
    assert Conversation("question").handle(dialog.Opened()) == (Send("question"),)


def test_the_usual_way_to_the_upload_node():
    conversation = Conversation("question")
    commands = [
        *conversation.handle(dialog.Opened()),
        *(
            command
            for frame in (
                TaskAccepted("t"),
                QuestionAccepted(NEW),
                Notice(-3),
                event("002000"),
                event("002002"),
                Text("Hello, ", NEW),
                event("000000", "so are you"),
                event("002003"),
                event("002007"),
                event("002004"),
                Heartbeat(),
                Other("audio"),
                event("002010", node=NODE),
            )
            for command in conversation.handle(FrameReceived(frame))
        ),
    ]
    assert commands == [Send("question"), Done(NODE, NEW)]


def test_the_id_may_come_with_the_node_only_or_never():
    assert play(event("002010", node=NODE)) == (Done(NODE, NEW),)
    assert play(event("002010", node=NODE, dialog_id=None)) == (Done(NODE, None),)


@pytest.mark.parametrize("code", ["002001", "002005"])
def test_a_dialog_that_ends_without_a_node_says_what_was_said(code):
    error = failure(play(Text("I do not "), Text("understand"), event(code)))
    assert isinstance(error, NoUploadNode)
    assert "I do not understand" in error.message
    assert code in error.message


@pytest.mark.parametrize(
    "frame",
    [
        event("400000", "flow is broken"),
        event("500001", "flow is broken"),
        ErrorFrame("400012", "flow is broken"),
    ],
)
def test_an_error_code_ends_the_dialog_with_the_services_words(frame):
    error = failure(play(frame))
    assert isinstance(error, NoUploadNode)
    assert "flow is broken" in error.message


@pytest.mark.parametrize(
    "frame",
    [
        ErrorFrame("401000", "no"),
        ErrorFrame("400000", "invalid token"),
        event("400000", "鉴权失败"),
        Text("系统异常(robot key 无效)"),
    ],
)
def test_refused_credentials_are_told_apart(frame):
    assert isinstance(failure(play(frame)), CredentialsRefused)


@pytest.mark.parametrize(
    "frames",
    [
        [Text("系统异常(502)")],
        [Text("系统"), Text("异常(502)")],
        [event("000000", "抱歉,系统异常(502)")],
        [Text("您的问题涉及到风险内容")],
    ],
)
def test_error_texts_in_successful_frames_end_the_dialog(frames):
    assert isinstance(failure(play(*frames)), NoUploadNode)


def test_silence_is_a_fault_of_the_service():
    conversation = Conversation("question")
    play(TaskAccepted("t"), conversation=conversation)
    assert isinstance(failure(conversation.handle(dialog.DeadlinePassed())), ServiceFault)


def test_waiting_sends_heartbeats():
    assert Conversation("question").handle(dialog.HeartbeatDue()) == (Send(HEARTBEAT),)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (None, "", ServiceFault),
        (1001, "", ServiceFault),
        (1011, "", ServiceFault),
        (1012, "", ServiceFault),
        (1013, "", ServiceFault),
        (1009, "", ServiceFault),
        (1000, "", NoUploadNode),
        (1008, "", CredentialsRefused),
        (4401, "", CredentialsRefused),
        (4403, "", CredentialsRefused),
        (4000, "invalid token", CredentialsRefused),
    ],
)
def test_what_a_close_code_means(code, reason, kind):
    conversation = Conversation("question")
    play(TaskAccepted("t"), conversation=conversation)
    assert type(failure(conversation.handle(dialog.ConnectionClosed(code, reason)))) is kind


def test_a_close_before_any_word_is_a_fault():
    error = failure(Conversation("question").handle(dialog.ConnectionClosed(1000)))
    assert isinstance(error, ServiceFault)


def test_nothing_happens_after_the_end():
    conversation = Conversation("question")
    play(event("002010", node=NODE), conversation=conversation)
    assert conversation.handle(FrameReceived(event("002005"))) == ()
    assert conversation.handle(dialog.DeadlinePassed()) == ()
    assert conversation.handle(dialog.ConnectionClosed(1011)) == ()


@pytest.mark.parametrize(
    "late",
    [
        event("002005", dialog_id=OLD),
        event("002001", dialog_id=None),
        event("002010", node=NODE, dialog_id=OLD),
        Text("系统异常(", OLD),
        Heartbeat(),
    ],
)
def test_late_frames_of_a_former_dialog_are_not_heard(late):
    conversation = Conversation("question", former=[OLD])
    assert play(late, conversation=conversation) == ()
    assert not conversation.heard
    assert conversation.handle(FrameReceived(event("002010", node=NODE))) == (Done(NODE, NEW),)


def test_an_error_on_a_kept_connection_is_heard_even_without_an_id():
    conversation = Conversation("question", former=[OLD])
    assert isinstance(
        failure(play(ErrorFrame("400000", "busy"), conversation=conversation)), NoUploadNode
    )


@pytest.mark.parametrize(
    "frames",
    [
        [ErrorFrame("400000", "SECRET")],
        [Text("SECRET"), event("002005")],
        [ErrorFrame("401", "SECRET")],
    ],
)
def test_the_services_words_are_redacted(frames):
    conversation = Conversation("q", redact=lambda text: text.replace("SECRET", "[redacted]"))
    assert "[redacted]" in failure(play(*frames, conversation=conversation)).message


def test_close_reasons_are_redacted():
    conversation = Conversation("q", redact=lambda text: text.replace("SECRET", "[redacted]"))
    error = failure(conversation.handle(dialog.ConnectionClosed(4000, "SECRET")))
    assert "SECRET" not in error.message
