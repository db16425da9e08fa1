"""A text that would fill the memory is told from one that is merely long."""

import json

import pytest

from worker.core.contents import decode_contents
from worker.core.json_size import MOST_VALUES, holds_too_much
from worker.core.loose_json import MalformedReply
from worker.core.messages import parse_envelope

MANY = MOST_VALUES + 2


@pytest.mark.parametrize(
    "text",
    [
        "[" + ",".join(["[]"] * MANY) + "]",
        "[" + ",".join(["1"] * MANY) + "]",
        "[" + ",".join(['"\\"a"'] * MANY) + "]",
        "[" * MANY,
        '{"a":' * MANY,
        '["\\\\",' + ",".join(["{}"] * MANY) + "]",
    ],
)
def test_a_text_of_too_many_values(text):
    assert holds_too_much(text)
    assert holds_too_much(text.encode())


@pytest.mark.parametrize(
    "value",
    [
        "a,b,[c],{d}" * MOST_VALUES,
        '"a","b\\\\",' * MOST_VALUES,
        ["x" * 50] * (MOST_VALUES // 2),
    ],
)
def test_a_long_string_is_one_value(value):
    assert not holds_too_much(json.dumps({"parse_content": value}))


def test_a_reply_of_too_many_values_is_not_parsed():
    raw = b'{"code":"000000","data":{"parse_content":[' + b"[]," * MANY + b"1]}}"
    with pytest.raises(MalformedReply, match="values"):
        parse_envelope(raw)


def test_contents_of_too_many_values_stay_text():
    text = "[" + "[]," * MANY + "1]"
    contents = decode_contents(text, None)
    assert (contents.parse_text, contents.segments) == (text, None)
