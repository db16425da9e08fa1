"""The words of an HTTP error: short, readable, without markup and without a credential."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.model.wire import Credentials
from worker.core.redaction import redactor
from worker.core.reply_words import LONGEST, http_words, words_of

REDACT = redactor(Credentials("key%3D1", "token-secret", "someone@example.org"))


def words(body: str | bytes) -> str:
    return words_of(body if isinstance(body, bytes) else body.encode(), REDACT)


PAGE = """<!DOCTYPE html><html><head><title>413 Request Entity Too Large</title>
<style>h1 {color: red}</style><script>var a = "<b>no</b>";</script></head>
<body><center><h1>413 Request Entity Too Large</h1></center><hr>nginx&nbsp;&amp; Co</body></html>"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", ""),
        ("  blocked\r\n\tby the \x1b[31mfirewall ", "blocked by the [31mfirewall"),
        ("\ufeffno", "no"),
        (PAGE, "413 Request Entity Too Large nginx & Co"),
        ("<?xml version='1.0'?><Error><Code>Denied</Code></Error>", "Denied"),
        ("<html>", ""),
        ('{"code": "400413", "message": "too large"}', "400413 too large"),
        ('{"code": 400413, "msg": "太大"}', "400413 太大"),
        ('{"code": "000000", "data": {"parse_content": "private"}}', ""),
        ('{"detail": "Not authenticated"}', "Not authenticated"),
        ('{"error": {"message": "quota", "type": "x"}}', "quota"),
        ('{"detail": [{"loc": ["body", 0], "type": "missing"}]}', "loc body, loc 0, type missing"),
        ("[]", ""),
        ("{broken", "{broken"),
        (b"\x00\x01\x02", ""),
        (b"\xff\xfe\xfd\xfc" * 10, ""),
        (b"caf\xe9 is closed today", "caf\ufffd is closed today"),
    ],
)
def test_what_is_told(body, said):
    assert words(body) == said


def test_a_long_text_is_cut():
    said = words("no " * 10_000)
    assert len(said) <= LONGEST
    assert said.endswith("…")


@pytest.mark.parametrize(
    "body",
    [
        "token token-secret is not valid for someone@example.org",
        "<p>token-secret</p> <a title='key%3D1'>key=1</a>",
        '{"code": "400403", "message": "token-secret"}',
        '{"detail": "token-secret"}',
        '{"headers": [{"cybertron-robot-token": "token\\u002dsecret"}]}',
        "x" * (LONGEST - 5) + " token-secret",
        "<i>" * 5459 + "abc token-secret",
    ],
)
def test_no_credential_is_told_not_even_a_part_of_it(body):
    said = words(body)
    assert "secret" not in said
    assert "key=1" not in said
    assert "someone@" not in said
    assert not said.endswith("token-")


@given(st.binary(max_size=300) | st.text().map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_body_gives_one_line_that_can_be_stored(body: bytes):
    said = words(body)
    assert len(said) <= 1100
    assert said == " ".join(said.split()) or b'"code"' in body
    said.encode()


def test_nested_without_end_and_broken_markup_end_soon():
    assert words("[" * 100_000) == ""
    assert words("<![CDATA[" * 100_000) == ""
    assert words(json.dumps({"a": {"b": {"c": {"d": {"e": {"f": {"g": "h"}}}}}}})) == ""


def test_the_status_stands_in_front():
    assert http_words(413, b"too large", REDACT) == "HTTP 413: too large"
    assert http_words(500, b"", REDACT) == "HTTP 500"
