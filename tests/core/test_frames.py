import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.frames import (
    ErrorFrame,
    FlowEvent,
    Heartbeat,
    Notice,
    Other,
    QuestionAccepted,
    TaskAccepted,
    Text,
    parse_frame,
)
from worker.core.loose_json import MalformedReply

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
        ({"type": "llm_end", "data": "", "finish": "y"}, Other("llm_end")),
        ({"type": "text", "data": "a"}, Other("text")),
        ({"type": "json", "index": -3, "data": {"docs": []}, "finish": "y"}, Notice(-3)),
        ({"type": "json", "index": -4, "finish": "y"}, Notice(-4)),
        ({"type": "heartbeat", "data": "pong", "code": "400000", "message": "m"}, Heartbeat()),
        ({"type": "string", "data": "Bye", "finish": "Y"}, Text("Bye", finished=True)),
        ({"type": "json", "data": {"answer": "Bye"}, "finish": "y"}, Text("Bye", finished=True)),
        ({"type": "json", "index": 0, "data": "Bye", "finish": "y"}, Text("Bye", finished=True)),
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
        ("doc,pdf,text", ("doc", "pdf", "text")),
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


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", "pong", b"\xff\xfe", "[" * 100_000, "[1, 2]", '"pong"', "7", "null", b'\0{"a": 1}'],
)
def test_what_is_not_a_json_object_is_a_malformed_reply_that_quotes_nothing(raw):
    with pytest.raises(MalformedReply) as caught:
        parse_frame(raw)
    assert "pong" not in repr(caught.value)
    assert caught.value.__context__ is None


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_parsing_a_frame_raises_nothing_but_malformed_reply(raw):
    with contextlib.suppress(MalformedReply):
        parse_frame(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = ("code", "type", "index", "data", "dialog_id", "message", "file_upload", "answer", "id")


@given(st.dictionaries(st.sampled_from(NAMES), JSON | st.just("flow") | st.just("json")))
def test_any_json_object_is_a_frame(payload):
    parse_frame(json.dumps(payload))


@pytest.mark.parametrize(
    ("index", "data", "expected"),
    [
        (-2, {"task_id": "t1"}, TaskAccepted("t1")),
        (-1, {"dialog_id": DIALOG_ID}, QuestionAccepted(str(DIALOG_ID))),
        ("-1", {"dialog_id": str(DIALOG_ID)}, QuestionAccepted(str(DIALOG_ID))),
    ],
)
def test_a_notice_that_carries_its_id_is_no_error_whatever_its_code(index, data, expected):
    frame = {"code": "400000", "message": "success", "type": "json", "index": index, "data": data}
    assert parse_frame(json.dumps(frame)) == expected


@pytest.mark.parametrize(
    "changes",
    [{"data": {}}, {"data": None}, {"index": 0}, {"index": -3}, {"type": "error"}],
)
def test_without_its_id_or_as_anything_else_an_error_code_is_an_error(changes):
    frame = {
        "code": "400000",
        "message": "no",
        "type": "json",
        "index": -2,
        "data": {"task_id": "t"},
    }
    assert parse_frame(json.dumps(frame | changes)) == ErrorFrame("400000", "no")


@pytest.mark.parametrize(
    ("data", "frame", "jumps", "waits"),
    [
        ({}, {"flow_jump": 0, "node_waiting_jump": 0, "node_waiting_input": 0}, False, False),
        ({}, {"flow_jump": 1}, True, False),
        ({"node_waiting_jump": "1"}, {}, True, False),
        ({"node_waiting_input": True}, {"flow_jump": ""}, False, True),
        ({"node_waiting_input": None}, {"flow_jump": "0"}, False, False),
    ],
)
def test_the_switches_of_a_flow_event(data, frame, jumps, waits):
    event = parse_frame(flow({"code": "002003"} | data, **frame))
    assert isinstance(event, FlowEvent)
    assert (event.jumps, event.waits) == (jumps, waits)


@pytest.mark.parametrize("dialog_id", [2**53 + 1, 2**64 + 1, 10**30 + 1])
def test_a_dialogs_id_stays_exact(dialog_id):
    assert parse_frame(json.dumps({"type": "json", "index": -1, "dialog_id": dialog_id})) == (
        QuestionAccepted(str(dialog_id))
    )


def test_categories_formats_and_methods_beyond_a_thousand_are_as_if_not_sent():
    formats = ",".join(f"f{number}" for number in range(3000))
    many = CATEGORY | {"support_formats": formats, "customized_parse_methods": [{}] * 3000}
    node = node_of(upload_file_categories=[many] + [CATEGORY] * 1000)
    assert len(node.categories) == 1000
    assert len(node.categories[0].formats) == 1000
    assert len(node.categories[0].parse_methods) == 1000
