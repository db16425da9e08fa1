"""Names and secrets of sources that are addresses."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.addresses import (
    bare,
    climbs,
    decoded,
    file_name,
    has_secret,
    place,
    without_secrets,
)
from worker.core.planning import format_of


@pytest.mark.parametrize(
    ("source", "name"),
    {
        "/in/a b.wav": "a b.wav",
        "/in/a%20b.wav": "a%20b.wav",
        "/in/what?.wav": "what?.wav",
        "/in/folder/": "folder",
        "/": "/",
        "/in/\udcff.txt": "\ufffd.txt",
        "file:///in/a%20b%23.wav": "a b#.wav",
        "file:///in/d%FF.txt": "d\ufffd.txt",
        "https://h/a%20b%231.wav": "a b#1.wav",
        "https://h/in/b.txt?sig=x/y.pdf": "b.txt",
        "https://h/in/b.txt?X-Amz-Signature=abc&X-Amz-Expires=60": "b.txt",
        "https://h/in/b.txt#part/x.pdf": "b.txt",
        "https://h/d%FF.txt": "d\ufffd.txt",
        "HTTPS://h/%E4%B8%AD.txt": "中.txt",
        "s3://bucket/in/a b#1.wav": "a b#1.wav",
        "s3://bucket/in/a%20b.wav": "a%20b.wav",
        "s3://bucket/in/why?.txt": "why?.txt",
        "memory://a.txt": "a.txt",
    }.items(),
)
def test_the_name_of_a_file_is_its_own(source: str, name: str):
    assert file_name(source) == name


def test_a_format_never_comes_from_a_query():
    signed = "https://h/in/a.TXT?X-Amz-Signature=1.pdf"
    assert format_of(file_name(signed)) == "txt"


@pytest.mark.parametrize(
    ("url", "shown"),
    {
        "http://usr:hunter2@h/x.txt?sig=1": "http://h/x.txt",
        "http://us@er:p@ss@h/x": "http://h/x",
        "sftp://eco:pw1@h/x": "sftp://h/x",
        "https://h/x#token=1": "https://h/x",
        "/in/a?b@c": "/in/a?b@c",
        "https://h/@x": "https://h/@x",
    }.items(),
)
def test_what_is_shown_of_an_address_holds_no_secret(url: str, shown: str):
    assert bare(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "http://usr:hunter2@h/x",
        "http://us@er:hunter2@h/x",
        "https://hunter2@h/x",
        "sftp://u:hunter2@h/x",
        "sftp://u:a/hunter2@h/x",
        "s3://AKIA:ab/hunter2@bucket/x",
        "https://h/x?sig=hunter2",
        "https://h/x?a=1&X-Amz-Signature=hunter2&b=2",
        "https://h/x?X%2DAmz%2DCredential=hunter2",
        "https://h/x?AWSAccessKeyId=hunter2",
        "https://h/x?GoogleAccessId=hunter2",
        "https://h/x?access_token=hunter2",
        "https://h/x?api-key=hunter2",
        "az://c/x?sv=2024&sig=hunter2",
        "https://h/x#token=hunter2",
    ],
)
def test_a_secret_in_an_address_is_seen_and_taken_out(url: str):
    assert has_secret(url)
    assert "hunter2" not in without_secrets(url)
    assert "hunter2" not in bare(url)
    assert has_secret(without_secrets(url))
    assert without_secrets(without_secrets(url)) == without_secrets(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://h:8080/x",
        "http://h:8080/x@y",
        "sftp://usr@h/x",
        "sftp://h:/x@y",
        "http://[::1]/a@b",
        "/in/a:b@c",
        "/in/x?sig=1",
        "file:///in/x?sig=1",
        "https://h/a:b@c",
        "a:b@c",
        "https://h/x?version=3&design=a",
        "s3://bucket/a&key=5.wav",
        "s3://arn:aws:s3:eu-west-1:1:accesspoint/p/a@b",
    ],
)
def test_an_address_without_a_secret_stays_as_it_is(url: str):
    assert not has_secret(url)
    assert without_secrets(url) == url


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("https://H:443/a/b%20c", "https://h/a"),
        ("sftp://Host:22/in/a#1?.wav", "sftp://host/in"),
        ("sftp://al@host/in/a", "sftp://al@host"),
        ("S3://bucket/a", "s3://bucket"),
        ("s3://bucket/a", "s3://"),
    ],
)
def test_one_address_lies_below_another_however_they_are_spelt(url: str, root: str):
    below, above = place(url), place(root)
    assert below is not None
    assert above is not None
    assert below[: len(above)] == above


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("sftp://al@host/in/a", "sftp://host/in"),
        ("sftp://host/in/a", "sftp://al@host/in"),
        ("sftp://host:2222/in/a", "sftp://host/in"),
        ("https://h:8443/a", "https://h"),
        ("s3://buckets/a", "s3://bucket"),
    ],
)
def test_another_user_host_or_bucket_is_another_place(url: str, root: str):
    below, above = place(url), place(root)
    assert below is not None
    assert above is not None
    assert below[: len(above)] != above


@pytest.mark.parametrize(
    "path", ["/a/../b", "/a%2f..%2fb", "/%252e%252e/b", "/a/..%5cb", "a\\..\\b"]
)
def test_a_path_that_climbs_is_seen_in_every_spelling(path: str):
    assert climbs(path)
    assert not climbs("/a/..b/c..")


def test_a_percent_sign_quoted_a_million_times_is_read_at_once():
    assert decoded("%" + "25" * 1_000_000 + "2e") == "."


@given(st.text("%25e4", max_size=30))
def test_an_address_is_decoded_as_pass_after_pass_would(text):
    expected = text
    while (plain := unquote(expected)) != expected:
        expected = plain
    assert decoded(text) == expected
