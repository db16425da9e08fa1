import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core import messages
from worker.core.messages import (
    EnvelopeError,
    ErrorFrame,
    FlowEvent,
    Heartbeat,
    MalformedReply,
    Notice,
    Other,
    QuestionAccepted,
    TaskAccepted,
    Text,
    parse_envelope,
    parse_frame,
    parse_status_reply,
    parse_upload_reply,
    question_frame,
    refuses_credentials,
    wire_credentials,
)
from worker.core.model import Credentials

CREDENTIALS = Credentials("qN7%3D", "MTcz%2Bx", "someone@example.org")

CATEGORY = {
    "id": 77,
    "name": "Audio test",
    "support_formats": "wav",
    "upload_max_num": 5,
    "variable_assign_enable": True,
    "variable_assign": "test_vvv",
    "customized_parse_methods": [{"file_format": "", "parse_model": "text", "parse_prompt": ""}],
}
NODE = {
    "instruction": "Please start uploading your files",
    "upload_file_categories": [CATEGORY],
    "flow_uuid": "4cc96904",
    "session_id": "c49bcd42",
    "node_id": "21a5fdec",
    "language": "zh",
}
DIALOG_ID = 1017340986451495206


def flow(data, **frame):
    return json.dumps(
        {"code": "000000", "type": "flow", "dialog_id": DIALOG_ID, "finish": "y", "data": data}
        | frame
    )


def node_of(**changes):
    frame = parse_frame(flow({"code": "002010", "file_upload": NODE | changes}))
    assert isinstance(frame, FlowEvent)
    assert frame.node is not None
    return frame.node


def category_of(**changes):
    (category,) = node_of(upload_file_categories=[CATEGORY | changes]).categories
    return category


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"type": "json", "index": -2, "data": {"task_id": "t1"}}, TaskAccepted("t1")),
        ({"type": "json", "index": "-2", "data": {"task_id": 7}}, TaskAccepted("7")),
        (
            {"type": "json", "index": -1, "data": {"dialog_id": DIALOG_ID}},
            QuestionAccepted(str(DIALOG_ID)),
        ),
        ({"type": "json", "index": -8}, Notice(-8)),
        ({"type": "string", "data": "Hello", "finish": "n", "code": 0}, Text("Hello")),
        ({"type": "heartbeat", "data": "pong"}, Heartbeat()),
        ({"code": "400000", "message": "no", "type": "string"}, ErrorFrame("400000", "no")),
        ({"code": 400000, "msg": "no"}, ErrorFrame("400000", "no")),
        ({"type": "error", "data": "broken"}, ErrorFrame("", "broken")),
        ({"type": "video", "code": "000000"}, Other("video")),
        ([1, 2], Other("")),
    ],
)
def test_each_kind_of_frame_is_recognised(frame, expected):
    assert parse_frame(json.dumps(frame)) == expected


@pytest.mark.parametrize(
    "raw",
    [
        flow({"code": "002010", "file_upload": NODE}),
        flow({"code": "002010", "answer": {"type": "upload", "data": NODE}}),
        flow({"code": "002010"}, file_upload=NODE),
        flow(
            {"code": 2010, "file_upload": {}, "answer": {"type": "upload", "data": None}},
            file_upload=NODE,
        ),
    ],
)
def test_the_upload_node_is_found_in_each_of_its_three_places(raw):
    frame = parse_frame(raw.encode())
    assert isinstance(frame, FlowEvent)
    assert frame.node is not None
    assert (frame.node.flow_uuid, frame.node.session_id, frame.node.node_id) == (
        "4cc96904",
        "c49bcd42",
        "21a5fdec",
    )
    assert frame.node.categories[0].id == 77
    assert frame.node.categories[0].variable == "test_vvv"
    assert frame.dialog_id == "1017340986451495206"


def test_the_first_place_wins():
    other = NODE | {"session_id": "second"}
    raw = flow({"code": "002010", "answer": {"type": "upload", "data": NODE}}, file_upload=other)
    frame = parse_frame(raw)
    assert isinstance(frame, FlowEvent)
    assert frame.node is not None
    assert frame.node.session_id == "c49bcd42"


def test_an_answer_of_another_type_is_no_upload_node():
    frame = parse_frame(flow({"code": "000000", "answer": {"type": "text", "data": "Hello"}}))
    assert frame == FlowEvent("000000", "Hello", None, str(DIALOG_ID))


@pytest.mark.parametrize(
    ("spelled", "formats"),
    [
        ("doc,pdf,text", ("doc", "pdf", "txt")),
        (" .WAV , Mp3;*.png ,, wav", ("wav", "mp3", "png")),
        ("doc\uff0cpdf\u3001docx", ("doc", "pdf", "docx")),
        (["PDF", ".docx"], ("pdf", "docx")),
        ("", ()),
        (None, ()),
    ],
)
def test_formats_are_read_however_they_are_spelled(spelled, formats):
    assert category_of(support_formats=spelled).formats == formats


@pytest.mark.parametrize("enabled", [True, 1, "true", "1", None])
def test_an_enabled_variable_counts(enabled):
    assert category_of(variable_assign_enable=enabled).variable == "test_vvv"


@pytest.mark.parametrize("disabled", [False, 0, "false", "0", "False"])
def test_a_disabled_variable_is_empty(disabled):
    assert category_of(variable_assign_enable=disabled).variable == ""


def test_a_missing_switch_counts_as_on():
    entry = {key: value for key, value in CATEGORY.items() if key != "variable_assign_enable"}
    assert node_of(upload_file_categories=[entry]).categories[0].variable == "test_vvv"


@pytest.mark.parametrize(
    ("sent", "most"), [("3", 3), (3, 3), (3.0, 3), ("many", 1), (None, 1), (0, 0)]
)
def test_the_most_files_of_a_category(sent, most):
    assert category_of(upload_max_num=sent).upload_max_num == most


def test_odd_categories_and_methods_are_skipped():
    category = category_of(
        customized_parse_methods=[None, {"file_format": "pdf,doc", "parse_model": 4}]
    )
    assert [(m.file_format, m.parse_model, m.parse_prompt) for m in category.parse_methods] == [
        ("pdf,doc", "4", "")
    ]
    assert node_of(upload_file_categories="none").categories == ()


@pytest.mark.parametrize("raw", [b"", b"{", "pong", b"\xff\xfe", "[" * 100_000])
def test_what_is_not_json_is_a_malformed_reply_that_quotes_nothing(raw):
    with pytest.raises(MalformedReply) as caught:
        parse_frame(raw)
    assert "pong" not in repr(caught.value)
    assert caught.value.__context__ is None


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_parsing_raises_nothing_but_malformed_reply(raw):
    for parse in (parse_frame, parse_envelope):
        with contextlib.suppress(MalformedReply):
            parse(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = ("code", "type", "index", "data", "dialog_id", "message", "file_upload", "answer", "id")


@given(st.dictionaries(st.sampled_from(NAMES), JSON | st.just("flow") | st.just("json")))
def test_any_json_object_is_a_frame(payload):
    parse_frame(json.dumps(payload))


@pytest.mark.parametrize("code", ["000000", 0, "0"])
def test_success_has_three_spellings(code):
    envelope = parse_envelope(json.dumps({"code": code, "data": {"id": 6, "status": "1"}}))
    assert isinstance(envelope, messages.Envelope)
    assert parse_upload_reply(envelope.data) == messages.UploadReply("6", 1)


def test_an_error_keeps_its_code_and_words():
    assert parse_envelope('{"code": 400123, "message": "no"}') == EnvelopeError("400123", "no")


@pytest.mark.parametrize("raw", ["{}", "[]", "null", '{"code": null}'])
def test_a_reply_without_a_code_is_malformed(raw):
    with pytest.raises(MalformedReply):
        parse_envelope(raw)


@pytest.mark.parametrize("file_id", [2**53 + 1, 2**64 + 1, 10**30 + 1, str(10**30 + 1)])
def test_ids_stay_exact(file_id):
    raw = json.dumps({"code": "000000", "data": {"id": file_id}})
    envelope = parse_envelope(raw)
    assert isinstance(envelope, messages.Envelope)
    assert parse_upload_reply(envelope.data).chatflow_file_id == str(file_id)
    assert parse_frame(json.dumps({"type": "json", "index": -1, "dialog_id": file_id})) == (
        QuestionAccepted(str(file_id))
    )


@pytest.mark.parametrize("data", [None, {}, [], {"id": ""}, {"id": True}])
def test_an_upload_reply_needs_an_id(data):
    with pytest.raises(MalformedReply):
        parse_upload_reply(data)


def test_a_status_reply_keeps_raw_contents_and_lone_surrogates():
    raw = r'{"code": "000000", "data": {"status": "5", "error_msg": null, "parse_content": "a\u0000\ud800"}}'
    envelope = parse_envelope(raw)
    assert isinstance(envelope, messages.Envelope)
    reply = parse_status_reply(envelope.data)
    assert (reply.status, reply.error_message, reply.parse_content) == (5, "", "a\x00\ud800")


def test_a_status_reply_needs_a_body():
    with pytest.raises(MalformedReply):
        parse_status_reply(None)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("401000", ""),
        ("403", "x"),
        ("400000", "Invalid token"),
        ("400000", "cybertron-robot-key does not exist"),
        ("400001", "robot_key error"),
        ("400002", "Unauthorized"),
        ("400003", "Authentication failed"),
        ("400004", "no permission"),
        ("400005", "用户鉴权失败"),
        ("", "bad credentials"),
    ],
)
def test_these_errors_refuse_the_credentials(code, message):
    assert refuses_credentials(code, message)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "flow not found",
        "maximum context of 4096 tokens exceeded",
        "duplicate key value",
        "keyword missing",
    ],
)
def test_these_errors_do_not(message):
    assert not refuses_credentials("400000", message)


def test_the_opening_frame_has_the_fields_of_the_protocol():
    frame = json.loads(question_frame(CREDENTIALS, "File upload", "a" * 22, "WS"))
    assert frame == {
        "cybertron_robot_key": "qN7%3D",
        "cybertron_robot_token": "MTcz%2Bx",
        "username": "someone@example.org",
        "question": "File upload",
        "segment_code": "a" * 22,
        "message_source": "WS",
    }


def test_a_flow_is_opened_directly():
    frame = json.loads(question_frame(CREDENTIALS, "q", "s", "WS", "flow-1"))
    assert {key: frame[key] for key in frame if key.startswith("open_flow")} == {
        "open_flow_trigger": "direct",
        "open_flow_uuid": "flow-1",
        "open_flow_node_uuid": "",
        "open_flow_node_inputs": {},
    }


def test_credentials_are_decoded_only_when_asked():
    assert wire_credentials(CREDENTIALS, decode=False) == CREDENTIALS
    assert wire_credentials(CREDENTIALS, decode=True) == Credentials(
        "qN7=", "MTcz+x", "someone@example.org"
    )
