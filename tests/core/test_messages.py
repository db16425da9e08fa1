import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core import messages
from worker.core.loose_json import MalformedReply
from worker.core.messages import (
    EnvelopeError,
    parse_envelope,
    parse_status_reply,
    parse_upload_reply,
    question_frame,
    refuses_credentials,
)
from worker.core.model.wire import Credentials

CREDENTIALS = Credentials("qN7%3D", "MTcz%2Bx", "someone@example.org")


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_parsing_an_envelope_raises_nothing_but_malformed_reply(raw):
    with contextlib.suppress(MalformedReply):
        parse_envelope(raw)


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


HUGE = [
    "9" * 17,
    "9" * 19,
    "9" * 20,
    "9" * 30,
    "-" + "9" * 30,
    "1e30",
    "1e400",
    "-1.5e300",
    "9" * 5000,
]


def data_of(raw):
    envelope = parse_envelope(raw)
    assert isinstance(envelope, messages.Envelope)
    return envelope.data


@pytest.mark.parametrize("number", HUGE)
def test_a_huge_number_elsewhere_leaves_an_uploads_id_readable(number):
    for status in (number, f'"{number}"'):
        data = data_of(f'{{"code": "000000", "data": {{"id": 77, "status": {status}}}}}')
        assert parse_upload_reply(data).chatflow_file_id == "77"


@pytest.mark.parametrize("number", HUGE)
def test_a_huge_number_in_a_status_reply_is_an_unknown_status_or_text(number):
    body = (
        f'{{"file_id": 77, "status": {number}, "error_msg": {number}, "parse_content": {number}}}'
    )
    reply = parse_status_reply(data_of(f'{{"code": "000000", "data": {body}}}'), "77")
    assert reply.status is None or reply.status == int(number) < 2**63
    assert reply.error_message


@pytest.mark.parametrize("number", HUGE)
def test_a_huge_code_is_an_error_with_the_services_words(number):
    error = parse_envelope(f'{{"code": {number}, "message": "quota"}}')
    assert isinstance(error, EnvelopeError)
    assert error.message == "quota"
    assert 0 < len(error.code) <= 64


@pytest.mark.parametrize("number", ["9" * 17, "9" * 30, "9" * 500])
def test_a_huge_id_is_exact(number):
    data = data_of(f'{{"code": "000000", "data": {{"id": {number}}}}}')
    assert parse_upload_reply(data).chatflow_file_id == number
    assert parse_status_reply({"status": 5, "file_id": data["id"]}, number).status == 5


@pytest.mark.parametrize("number", ["1e30", "1e400", "5.5", "NaN", "9" * 5000])
def test_an_id_that_can_name_no_file_is_told(number):
    data = data_of(f'{{"code": "000000", "data": {{"id": {number}}}}}')
    with pytest.raises(MalformedReply, match=r"number: (1e\+30|inf|5\.5|nan)|5000 characters"):
        parse_upload_reply(data)


@pytest.mark.parametrize("about", [77, "77", " 77 ", 77.0, None, ""])
def test_a_status_reply_may_name_its_file_in_many_ways(about):
    assert parse_status_reply({"file_id": about, "status": 5}, "77").status == 5


@pytest.mark.parametrize("about", [7, "077", "7\u0667", 2**64, [77], {"id": 77}, True, 77.5])
def test_a_status_reply_about_another_file_is_no_reply(about):
    with pytest.raises(MalformedReply, match="another file"):
        parse_status_reply({"file_id": about, "status": 5}, "77")


@pytest.mark.parametrize("data", [None, {}, [], {"id": ""}, {"id": True}])
def test_an_upload_reply_needs_an_id(data):
    with pytest.raises(MalformedReply):
        parse_upload_reply(data)


def test_a_status_reply_keeps_raw_contents_and_lone_surrogates():
    raw = r'{"code": "000000", "data": {"status": "5", "error_msg": null, "parse_content": "a\u0000\ud800"}}'
    envelope = parse_envelope(raw)
    assert isinstance(envelope, messages.Envelope)
    reply = parse_status_reply(envelope.data, "6")
    assert (reply.status, reply.error_message, reply.parse_content) == (5, "", "a\x00\ud800")


def test_a_status_reply_needs_a_body():
    with pytest.raises(MalformedReply):
        parse_status_reply(None, "6")


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
