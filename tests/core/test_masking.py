import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.contents import decode_contents
from worker.core.masking import Masker, blank
from worker.core.model.wire import Credentials

CREDENTIALS = Credentials("key%3Dsecret", "token-secret", "alice")


def masked(value, key=""):
    return Masker(CREDENTIALS).value(value, key)


def outline(value):
    """A value's structure: its types, fields and lengths of lists."""
    match value:
        case dict():
            return {key: outline(item) for key, item in value.items()}
        case list():
            return [outline(item) for item in value]
        case _:
            return type(value)


def test_credentials_are_masked_under_either_spelling_of_their_fields():
    question = {
        "cybertron_robot_key": "a", "cybertron-robot-token": "b", "username": "c", "type": "x",
    }  # fmt: skip

    assert masked(question) == {
        "cybertron_robot_key": "***", "cybertron-robot-token": "***", "username": "***", "type": "x",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["key%3Dsecret", "key=secret", "token-secret", "alice"])
def test_credentials_are_taken_out_of_messages(text):
    assert text not in masked({"message": f"no {text} here"})["message"]


def test_what_tells_of_the_service_s_behaviour_is_kept():
    frame = {
        "code": "000000", "message": "success", "dialog_id": 1017340986451495206, "type": "flow",
        "index": -2, "finish": "y", "node_waiting_jump": 0, "flag": True, "nothing": None,
        "data": {"code": "002010", "flow_uuid": "4cc96904-049f-11f0-80e7-0e8133e180cd"},
        "support_formats": "pdf, DOCX", "parse_model": "gpt-4o", "variable_assign": "invoice",
    }  # fmt: skip

    assert masked(frame) == frame


def test_names_become_the_same_stand_in_throughout_and_keep_their_ending():
    masker = Masker(CREDENTIALS)

    first = masker.value({"file_name": "contract of Mr Smith.pdf"})
    other = masker.value({"name": "Contracts"})
    again = masker.value({"error_msg": "no text in contract of Mr Smith.pdf"})

    assert first == {"file_name": "name-1.pdf"}
    assert other == {"name": "name-2"}
    assert again == {"error_msg": "no text in name-1.pdf"}


def test_prompts_and_unknown_texts_keep_their_outline_only():
    assert masked({"parse_prompt": "Keep 2 tables,\nplease."}) == {
        "parse_prompt": "xxxx 0 xxxxxx,\nxxxxxx."
    }
    assert masked({"novelty": ["Grüße", 7]}) == {"novelty": ["xxxxx", 7]}


def test_words_that_steer_a_dialog_are_no_secrets():
    uuid = "4cc96904-049f-11f0-80e7-0e8133e180cd"

    assert blank(f"flow_enterflow_jump::jump_flow_uuid:{uuid}") == (
        f"flow_enterflow_jump::jump_flow_uuid:{uuid}"
    )
    assert blank("Hello 系统异常(50012)") == "xxxxx 系统异常(00000)"


def test_long_texts_are_cut_and_counted():
    assert blank("word " * 10_000).endswith("and 46000 characters more")


SEGMENTS = [{"text": "hello there", "speaker_id": 1}, {"text": "yes", "score": 0.5, "ok": True}]
SHAPES = {
    "a python repr": repr([json.dumps(SEGMENTS)]),
    "with broken escapes": repr([json.dumps(SEGMENTS).replace('": "', '": "\\')]),
    "a fence": f"```json\n{json.dumps(SEGMENTS)}\n```",
    "plain JSON": json.dumps(SEGMENTS),
    "a real list": SEGMENTS,
    "a list of texts": [json.dumps(SEGMENTS)],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_contents_lose_their_words_and_keep_their_structure(shape):
    content = SHAPES[shape]
    result = masked({"parse_content": content})["parse_content"]

    assert type(result) is type(content)
    before = decode_contents(content, None).segments
    after = decode_contents(result, None).segments
    assert outline(after) == outline(before)
    assert "hello" not in str(result)
    if isinstance(content, str):
        assert result[:3] == content[:3]


@pytest.mark.parametrize("content", [None, "", [], "null"])
def test_contents_that_are_nothing_stay_so(content):
    assert masked({"parse_content": content}) == {"parse_content": content}


def test_plain_contents_keep_their_outline_only():
    assert masked({"llm_content": "# Invoice 12\n\nof Smith"}) == {
        "llm_content": "# xxxxxxx 00\n\nxx xxxxx"
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.from_regex("[a-z]{1,8}", fullmatch=True), inner)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}_field", fullmatch=True), json_values))
def test_structure_and_types_survive(value):
    assert outline(masked(value)) == outline(value)
