import pytest

from worker.core import dialog
from worker.core.dialog import Conversation
from worker.core.dialog_events import (
    Await,
    ConnectionClosed,
    ConnectionOpened,
    DeadlinePassed,
    Done,
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
    Heartbeat,
    Notice,
    Other,
    QuestionAccepted,
    TaskAccepted,
    Text,
)
from worker.core.messages import HEARTBEAT
from worker.core.model.wire import UploadNode
from worker.errors import CredentialsRefused, NoUploadNode, ServiceFault

NODE = UploadNode("flow", "session", "node", ())
OLD, NEW = "1017340986451495205", "1017340986451495206"


def event(code, words="", node=None, dialog_id=NEW):
    return FlowEvent(code, words, node, dialog_id)


def begun(question="question", **more):
    return Conversation(question, lambda uuid: f"into {uuid}" if uuid else "once more", **more)


def play(*frames, conversation=None):
    """Feed frames to a conversation that has begun; return its last commands."""
    conversation = conversation or begun("question")
    commands = conversation.handle(ConnectionOpened())
    for frame in frames:
        commands = conversation.handle(FrameReceived(frame))
    return commands


def failure(commands):
    (failed,) = commands
    assert isinstance(failed, Failed)
    return failed.error


def test_it_begins_with_the_question():
    assert begun("question").handle(ConnectionOpened()) == (Send("question"),)


def test_the_usual_way_to_the_upload_node():
    conversation = begun("question")
    commands = [
        *conversation.handle(ConnectionOpened()),
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
    conversation = begun("question")
    play(TaskAccepted("t"), conversation=conversation)
    assert isinstance(failure(conversation.handle(DeadlinePassed())), ServiceFault)


def test_waiting_sends_heartbeats():
    assert begun("question").handle(HeartbeatDue()) == (Send(HEARTBEAT),)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (None, "", ServiceFault),
        (1001, "", ServiceFault),
        (1011, "", ServiceFault),
        (1012, "", ServiceFault),
        (1013, "", ServiceFault),
        (1009, "", ServiceFault),
        (1011, "the key space is being moved", ServiceFault),
        (1012, "restarting the token service", ServiceFault),
        (1013, "authorization is overloaded", ServiceFault),
        (1000, "", NoUploadNode),
        (1008, "", CredentialsRefused),
        (4401, "", CredentialsRefused),
        (4403, "", CredentialsRefused),
        (4000, "invalid token", CredentialsRefused),
    ],
)
def test_what_a_close_code_means(code, reason, kind):
    conversation = begun("question")
    play(TaskAccepted("t"), conversation=conversation)
    assert type(failure(conversation.handle(ConnectionClosed(code, reason)))) is kind


def test_a_close_before_any_word_is_a_fault():
    error = failure(begun("question").handle(ConnectionClosed(1000)))
    assert isinstance(error, ServiceFault)


def test_nothing_happens_after_the_end():
    conversation = begun("question")
    play(event("002010", node=NODE), conversation=conversation)
    assert conversation.handle(FrameReceived(event("002005"))) == ()
    assert conversation.handle(DeadlinePassed()) == ()
    assert conversation.handle(ConnectionClosed(1011)) == ()


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
    conversation = begun("question", former=[OLD])
    assert play(late, conversation=conversation) == ()
    assert not conversation.heard
    assert conversation.handle(FrameReceived(event("002010", node=NODE))) == (Done(NODE, NEW),)


def test_an_error_on_a_kept_connection_is_heard_even_without_an_id():
    conversation = begun("question", former=[OLD])
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
    conversation = begun("q", redact=lambda text: text.replace("SECRET", "[redacted]"))
    assert "[redacted]" in failure(play(*frames, conversation=conversation)).message


def test_close_reasons_are_redacted():
    conversation = begun("q", redact=lambda text: text.replace("SECRET", "[redacted]"))
    error = failure(conversation.handle(ConnectionClosed(4000, "SECRET")))
    assert "SECRET" not in error.message


# --- what looks like the end and need not be ---

CHAT = Text("Sure! How can I help you?", NEW, finished=True)


def gave_up(commands):
    """The words of a dialog that found no upload flow; they name what to look at."""
    error = failure(commands)
    assert type(error) is NoUploadNode
    assert "CHATFLOW_QUESTION" in error.message
    assert "CHATFLOW_FLOW_UUID" in error.message
    return error.message


def silence(conversation):
    return conversation.handle(Silence())


@pytest.mark.parametrize(
    "frames",
    [
        [CHAT],
        [Text("Sure! How "), Text("can I help you?"), Text("", finished=True)],
        [Text("Sure! How can I help you?", finished=True), Text("flow_exit", finished=True)],
        [CHAT, Notice(-8), Other("llm_end"), Heartbeat()],
    ],
)
def test_a_robot_that_merely_chats_ends_the_dialog_after_a_short_silence(frames):
    conversation = begun()
    assert failure_or_wait(play(QuestionAccepted(NEW), *frames, conversation=conversation))
    assert "Sure! How can I help you?" in gave_up(silence(conversation))


def failure_or_wait(commands):
    return commands in ((), (Await(dialog.QUIET_SECONDS),))


@pytest.mark.parametrize("more", [[Text("One ", NEW)], [event("002000")], [event("002002")]])
def test_what_goes_on_after_a_finished_reply_is_waited_for(more):
    conversation = begun()
    assert play(CHAT, *more, conversation=conversation) == (Await(None),)
    assert silence(conversation) == ()
    assert conversation.handle(FrameReceived(event("002010", node=NODE))) == (Done(NODE, NEW),)


def test_within_a_flow_a_finished_reply_is_no_end():
    assert play(event("002000"), event("002002"), CHAT) == ()
    assert play(event("002000"), CHAT, CHAT, event("002010", node=NODE)) == (Done(NODE, NEW),)


@pytest.mark.parametrize(
    "frame",
    [
        event("002004"),
        FlowEvent("000000", "", None, NEW, waits=True),
        event("000000", "node_waiting_input"),
        Text("node_waiting_input", NEW, finished=True),
    ],
)
def test_a_flow_that_waits_for_input_ends_the_dialog_after_a_short_silence(frame):
    conversation = begun()
    commands = play(
        event("002000"), event("000000", "Your name?"), frame, conversation=conversation
    )
    assert commands == (Await(dialog.QUIET_SECONDS),)
    words = gave_up(silence(conversation))
    assert "waits for input" in words
    assert words.endswith("it said: Your name?")


def test_a_flow_that_waits_for_input_and_ends_the_round_ends_the_dialog_at_once():
    assert "waits for input" in gave_up(play(event("002000"), event("002004"), event("002005")))


def test_an_upload_node_that_comes_after_waiting_for_input_is_taken():
    frames = [event("002000"), event("002004"), event("002010", node=NODE)]
    assert play(*frames) == (Done(NODE, NEW),)


@pytest.mark.parametrize("frame", [CHAT, event("002004")])
def test_where_the_deadline_comes_before_the_silence_it_ends_alike(frame):
    conversation = begun()
    play(frame, conversation=conversation)
    gave_up(conversation.handle(DeadlinePassed()))


@pytest.mark.parametrize("frame", [CHAT, event("002004")])
def test_where_the_service_hangs_up_before_the_silence_it_ends_alike(frame):
    conversation = begun()
    play(frame, conversation=conversation)
    gave_up(conversation.handle(ConnectionClosed(1000)))


# --- jumps ---

JUMPS = {
    "code": ([event("002007")], "once more"),
    "flag": ([FlowEvent("000000", "", None, NEW, jumps=True)], "once more"),
    "answer": ([event("000000", "flow_jump")], "once more"),
    "text": ([Text("flow_enterflow_jump::Invoices", NEW, finished=True)], "once more"),
    "code and name": ([event("002007", "flow_jump::x,jump_flow_uuid:f-2,y")], "into f-2"),
    "name in a text": ([event("002007"), Text("flow_jump::jump_flow_uuid:f-2", NEW)], "into f-2"),
    "name first": ([event("000000", "jump_flow_uuid: f-2"), event("002007")], "into f-2"),
    "no name": ([event("002007", "flow_jump::jump_flow_uuid:,x")], "once more"),
}


@pytest.mark.parametrize("case", JUMPS)
def test_a_jump_without_an_upload_node_is_followed_after_a_short_silence(case):
    frames, sent = JUMPS[case]
    conversation = begun()
    commands = play(event("002000"), *frames, event("002001"), conversation=conversation)
    assert commands == (Await(dialog.JUMP_SECONDS),)
    assert silence(conversation) == (Await(None), Send(sent))
    assert conversation.jumps == 1
    assert conversation.handle(FrameReceived(event("002010", node=NODE))) == (Done(NODE, NEW),)


def test_the_end_of_the_round_lets_a_jump_be_followed_at_once():
    conversation = begun()
    commands = play(event("002000"), event("002007"), event("002005"), conversation=conversation)
    assert commands == (Await(None), Send("once more"))


@pytest.mark.parametrize(
    "arrives", [[event("002000")], [event("002001"), event("002000")], [event("002002")]]
)
def test_a_jump_that_the_service_makes_by_itself_is_not_followed(arrives):
    conversation = begun()
    assert play(event("002000"), event("002007"), *arrives, conversation=conversation) == (
        Await(None),
    )
    assert silence(conversation) == ()
    assert conversation.handle(FrameReceived(event("002010", node=NODE))) == (Done(NODE, NEW),)
    assert conversation.jumps == 0


def test_late_frames_of_the_flow_that_was_left_do_not_end_the_one_that_was_jumped_to():
    conversation = begun()
    play(event("002007"), conversation=conversation)
    silence(conversation)
    for code in ("002001", "002005"):
        assert conversation.handle(FrameReceived(event(code))) == (Await(dialog.QUIET_SECONDS),)
    assert conversation.handle(FrameReceived(event("002000"))) == (Await(None),)
    assert "002001" in gave_up(conversation.handle(FrameReceived(event("002001"))))


def test_a_flow_that_brings_nothing_after_the_jump_ends_the_dialog():
    conversation = begun()
    play(event("002007"), conversation=conversation)
    silence(conversation)
    conversation.handle(FrameReceived(event("002005")))
    gave_up(silence(conversation))


def test_flows_that_jump_in_circles_are_followed_three_times():
    conversation = begun()
    frames = [event("002000"), event("002007"), event("002005")]
    sent = [command for _ in range(3) for command in play_on(conversation, *frames)]
    assert [each.text for each in sent if isinstance(each, Send)] == ["once more"] * 3
    assert "3 jumps" in gave_up(play_on(conversation, *frames))


def play_on(conversation, *frames):
    for frame in frames:
        commands = conversation.handle(FrameReceived(frame))
    return commands


def test_after_a_jump_the_dialogs_id_is_the_latest():
    conversation = begun()
    play(QuestionAccepted(OLD), event("002007", dialog_id=OLD), conversation=conversation)
    silence(conversation)
    assert play_on(conversation, QuestionAccepted(NEW), event("002010", node=NODE)) == (
        Done(NODE, NEW),
    )


# --- noise ---


def test_noise_is_counted_skipped_and_told_at_the_deadline():
    conversation = begun()
    play(TaskAccepted("t"), conversation=conversation)
    assert conversation.handle(NoiseReceived()) == ()
    assert conversation.handle(NoiseReceived()) == ()
    assert conversation.noises == 2
    error = failure(conversation.handle(DeadlinePassed()))
    assert type(error) is ServiceFault
    assert "2 messages were no frames" in error.message


def test_noise_does_not_put_off_the_end_of_a_chat():
    conversation = begun()
    play(CHAT, conversation=conversation)
    assert conversation.handle(NoiseReceived()) == ()
    gave_up(silence(conversation))
