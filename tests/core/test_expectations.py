import pytest

from worker.core.expectations import differences

NODE = {
    "instruction": "xxx", "flow_uuid": "u", "session_id": "s", "node_id": "n", "language": "zh",
    "steps": 2, "is_submit": False,
    "upload_file_categories": [
        {
            "id": 1, "name": "name-1", "support_formats": "wav", "upload_max_num": 5,
            "variable_assign_enable": True, "variable_assign": "v",
            "customized_parse_methods": [
                {"file_format": "", "parse_model": "text", "parse_prompt": ""}
            ],
        }
    ],
}  # fmt: skip


def frame(kind="json", index=-1, data=None, **more):
    return {
        "code": "000000", "message": "success", "type": kind, "index": index, "finish": "n",
        "dialog_id": 7, "data": {} if data is None else data,
    } | more  # fmt: skip


def flow(code, **more):
    return frame("flow", 0, {"code": code}, **more)


UPLOAD_NODE = frame("flow", 0, {"code": "002010", "file_upload": NODE})


def received(on, json, **more):
    return {"at": 0, "on": on, "do": "received", "json": json} | more


def dialog(*frames):
    return [received("dialog", one) for one in frames]


def status(number, **more):
    data = {
        "file_id": 6, "status": number, "error_msg": "", "file_name": "x", "parse_content": None,
        "llm_content": None,
    } | more  # fmt: skip
    return received("status", {"code": "000000", "message": "success", "data": data}, status=200)


def upload(code="000000", message="success"):
    data = {"id": 6, "status": 1} if code == "000000" else None
    return received("upload", {"code": code, "message": message, "data": data}, status=200)


def found(events, **settings):
    return {(d.words, d.setting) for d in differences(settings, events)}


def words(events, **settings):
    return {difference.words for difference in differences(settings, events)}


def settings_named(events, **settings):
    return {d.setting for d in differences(settings, events)} - {""}


GOOD = [*dialog(frame(), UPLOAD_NODE), upload(), status(1), status(5)]


def test_what_is_as_described_does_not_differ():
    assert found(GOOD) == set()


def test_a_field_more_a_field_less_and_another_type_are_told():
    odd = frame(novelty=[1])
    del odd["finish"]
    odd["dialog_id"] = "7"

    assert words([*dialog(odd), *GOOD]) == {
        "the notice that the question was accepted has a field more: `novelty`, a list",
        "the notice that the question was accepted has no field `finish`",
        "the notice that the question was accepted: `dialog_id` is a text, described is a number",
    }


def test_what_differs_in_a_part_of_the_upload_node_is_told():
    category = NODE["upload_file_categories"][0] | {"upload_max_num": "5", "quota": 3}
    node = NODE | {"upload_file_categories": [category]}
    told = words(dialog(frame("flow", 0, {"code": "002010", "file_upload": node})))

    assert told == {
        "a category: `upload_max_num` is a text, described is a number",
        "a category has a field more: `quota`, a number",
    }


def test_the_same_difference_is_told_once():
    assert len(differences({}, [*GOOD, *dialog(*[frame(novelty=1)] * 9)])) == 1


def test_messages_that_are_no_frames_are_told():
    noise = [
        {"on": "dialog", "do": "received", "text": "xxxx"},
        {"on": "dialog", "do": "received", "bytes": 3},
        received("dialog", [1]),
    ]

    assert words([*noise, *GOOD]) == {
        "dialog: a message that is no JSON (dialogs skip it)",
        "dialog: a binary message (dialogs skip it)",
        "a notice is a list, not an object",
    }


def test_undescribed_types_codes_and_statuses_are_told():
    events = [*dialog(frame("hologram", 0), flow("002042")), *GOOD, status(9), status(5)]

    assert words(events) == {
        "a frame of an undescribed type: `hologram`",
        "a flow event with an undescribed code: `002042`",
        "an undescribed status: 9 (taken for: on its way)",
    }


def test_a_notice_with_an_error_s_code_is_told():
    assert words([*dialog(frame(code="400000")), *GOOD]) == {
        "a notice with the code `400000` (taken for success)"
    }


@pytest.mark.parametrize(
    ("events", "setting"),
    [
        (dialog(frame(), frame("string", 0, "xxx")), "CHATFLOW_QUESTION or CHATFLOW_FLOW_UUID"),
        (dialog(flow("002004")), "CHATFLOW_FLOW_UUID or CHATFLOW_QUESTION"),
        (dialog(flow("002007")), "CHATFLOW_FLOW_UUID"),
        ([*dialog(frame(message="message_source is wrong")), *GOOD], "CHATFLOW_MESSAGE_SOURCE=web"),
        ([*GOOD[:2], upload("400003", "tenant is not registered")], "CHATFLOW_TENANT_NAME"),
        ([*GOOD, status(7)], "CHATFLOW_SETTLE_AT=flow"),
        ([{"on": "upload", "do": "received", "status": 302, "json": {}}], "CHATFLOW_BASE_URL"),
    ],
)
def test_a_difference_names_the_setting_that_answers_it(events, setting):
    assert setting in settings_named(events)


def test_a_flow_that_goes_on_is_no_difference_where_it_is_waited_for():
    assert found([*GOOD, status(7)], CHATFLOW_SETTLE_AT="flow") == set()


def test_a_failed_flow_with_contents_may_be_success():
    events = [*GOOD[:3], status(1), status(8, parse_content="[1]", error_msg="flow failed")]

    assert settings_named(events) == {"CHATFLOW_SUCCESS_STATUSES=5,7,8, if that is success here"}
    assert found(events, CHATFLOW_SUCCESS_STATUSES="5,7,8") == set()
    assert found([*GOOD[:3], status(8, parse_content=[])]) == set()


@pytest.mark.parametrize(
    ("encoded", "setting"),
    [(True, "CHATFLOW_DECODE_CREDENTIALS=on"), (False, "CHATFLOW_ROBOT_KEY and others")],
)
def test_refused_credentials_may_have_to_be_decoded(encoded, setting):
    refused = {"on": "dialog", "do": "opened", "status": 401}

    assert settings_named([refused], percent_in_credentials=encoded) == {setting}


def test_the_bulk_call_is_told_of_when_it_answers():
    answered = received("bulk", {"code": "000000", "data": []}, status=200)
    unknown = received("bulk", {"code": "400404", "data": None}, status=404)

    assert found([*GOOD, unknown]) == set()
    assert words([*GOOD, answered]) == {
        "the bulk call answered for this file: worth telling the maintainers"
    }


def test_replies_that_are_no_envelope_are_told():
    assert words([*GOOD, received("status", "down", status=200)]) == {
        "a status reply is a text, not an object"
    }
