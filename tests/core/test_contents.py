import json

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.core.contents import clean_text, decode_contents, is_empty

# As the service's own reference shows it: the repr of a list that holds JSON with broken escapes.
REFERENCE = (
    '[\'[{"text": "\\\\message1", "speaker_id": 0}, {"text": "\\\\message2", '
    '"speaker_id": 1}, {"text": "\\\\message3", "speaker_id": 1}]\']'
)
TALK = [{"text": 'it\'s "so" \\ 你好\n', "speaker_id": 0}, {"text": "b", "speaker_id": 1}]


def segments(parse_content):
    return decode_contents(parse_content, None).segments


def test_the_reference_example_gives_three_utterances():
    contents = decode_contents(REFERENCE, None)
    assert [s["speaker_id"] for s in contents.segments] == [0, 1, 1]
    assert [s["text"] for s in contents.segments] == [r"\message1", r"\message2", r"\message3"]
    assert contents.parse_text == REFERENCE
    assert contents.llm_text is None
    assert not contents.sanitized


@pytest.mark.parametrize(
    "dress",
    [
        json.dumps,
        lambda talk: json.dumps(talk, ensure_ascii=False, indent=2),
        lambda talk: str([json.dumps(talk)]),
        lambda talk: str([json.dumps(talk, ensure_ascii=False)]),
        lambda talk: str([json.dumps(part) for part in talk]),
        lambda talk: str([json.dumps([part]) for part in talk]),
        lambda talk: json.dumps([json.dumps(talk)]),
        lambda talk: json.dumps(json.dumps(talk)),
        str,
        lambda talk: str(tuple(talk)),
        lambda talk: f"```json\n{json.dumps(talk)}\n```",
        lambda talk: f"  ```\n{json.dumps(talk)}```  ",
        lambda talk: f"```json\r\n{json.dumps(talk)}",
        lambda talk: str([f"```json\n{json.dumps(talk)}\n```"]),
        lambda talk: talk,
        lambda talk: [json.dumps(talk)],
        lambda talk: [json.dumps(part) for part in talk],
    ],
)
def test_every_dress_holds_the_same_talk(dress):
    assert segments(dress(TALK)) == TALK


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain words",
        "42",
        "null",
        "true",
        '"quoted"',
        '[{"text": "half',
        "{'a': ",
        "['a",
        "[see above]",
        "{curly} words",
        "['a' 'b'] and more",
        "[1, 2, oops]",
    ],
)
def test_what_is_no_json_list_or_object_stays_text(text):
    contents = decode_contents(text, None)
    assert contents.segments is None
    assert contents.parse_text == text


def test_lists_of_plain_texts_and_mixed_lists_stay_as_they_are():
    assert segments(["a", "b"]) == ["a", "b"]
    assert segments("['a', 'b']") == ["a", "b"]
    assert segments(["[1]", {"a": 1}]) == ["[1]", {"a": 1}]
    assert segments("[]") == []


def test_an_unescaped_quote_in_the_repr():
    assert segments("""['[{"text": "it's"}]']""") == [{"text": "it's"}]


def test_raw_line_breaks_within_json_texts():
    assert segments('[{"text": "a\nb"}]') == [{"text": "a\nb"}]


def test_python_words_and_numbers():
    assert segments("[{'a': None, 'b': True, 'c': (1, -2.5)}]") == [
        {"a": None, "b": True, "c": [1, -2.5]}
    ]


def test_nul_and_lone_surrogates_are_replaced_everywhere():
    contents = decode_contents('[{"t": "a\\u0000b\\ud800"}]\x00', "x\udfff")
    assert contents.parse_text == '[{"t": "a\\u0000b\\ud800"}]\ufffd'
    assert contents.llm_text == "x\ufffd"
    assert contents.sanitized
    inner = decode_contents([{"t\x00": "a\x00b\ud800"}], None)
    assert inner.segments == [{"t\ufffd": "a\ufffdb\ufffd"}]
    assert inner.parse_text == '[{"t\ufffd": "a\ufffdb\ufffd"}]'
    assert inner.sanitized


def test_real_surrogate_pairs_are_no_fault():
    contents = decode_contents(r'["\ud83d\ude00"]', "😀")
    assert contents.segments == ["😀"]
    assert not contents.sanitized


def test_numbers_that_no_json_column_takes():
    assert segments("[NaN, 1e999, 5]") == [None, None, 5]
    assert segments(f"[{10**30}, {2**53 + 1}]") == [str(10**30), 2**53 + 1]


def test_real_values_become_json_text():
    contents = decode_contents({"a": [1]}, [{"b": "ü"}])
    assert contents.parse_text == '{"a": [1]}'
    assert contents.llm_text == '[{"b": "ü"}]'


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 300_000,
        "['" * 150_000,
        "['" + "\\" * 300_001,
        '{"a":' * 100_000,
        "(" * 300_000,
        "['[" + "]' " * 100_000,
        "[" + " " * 300_000,
        "```" * 100_000,
        '["' + "\\u" * 150_000,
        "[" * 150_000 + "]" * 150_000,
        "[" + "9" * 300_000 + "]",
    ],
)
def test_hostile_texts_end_as_text(hostile):
    assert segments(hostile) is None


def test_hostile_nesting_of_real_values():
    value: list = []
    for _ in range(50_000):
        value = [value]
    contents = decode_contents(value, value)
    assert contents.segments is None
    assert contents.parse_text is not None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec=None)), inner),
    max_leaves=20,
)
FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "[",
            "]",
            "{",
            "}",
            "'",
            '"',
            "\\",
            "\\\\",
            "\\u12",
            "\\x4",
            ",",
            ":",
            "```json\n",
            "None",
            "1",
            "a",
            "\n",
            "\x00",
            "\ud800",
        ]
    )
).map("".join)


@given(VALUES | FRAGMENTS | VALUES.map(str), VALUES)
@example("['\\U99999999']", None)
def test_nothing_raises_and_everything_fits_a_database(parse_content, llm_content):
    contents = decode_contents(parse_content, llm_content)
    orjson.dumps(contents.segments)
    for text in (contents.parse_text, contents.llm_text):
        assert text is None or "\x00" not in text
        (text or "").encode()
    is_empty(parse_content)


@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
            st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
        ),
        min_size=1,
    )
)
def test_a_repr_of_json_always_comes_back(talk):
    assert segments(str([json.dumps(talk)])) == talk


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        "",
        "  \n",
        "[]",
        " [] ",
        [],
        {},
        "{}",
        "null",
        "None",
        '""',
        "['']",
        [""],
        [None],
        [[]],
    ],
)
def test_these_bring_nothing(nothing):
    assert is_empty(nothing)


@pytest.mark.parametrize(
    "something", ["a", "[1]", [1], {"a": 1}, "0", 0, False, "half [", "x" * 5000]
)
def test_these_bring_something(something):
    assert not is_empty(something)


def test_clean_text_leaves_good_text_alone():
    assert clean_text("grüß 你好 😀") == "grüß 你好 😀"
