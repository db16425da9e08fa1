"""The options of sources' drivers: which hold for an address, and what of them may be shown."""

import pytest

from worker.core.source_options import SourceOptions, option_faults, shown_options

OPTIONS = {
    "s3": {"endpoint_url": "https://minio:9000", "key": "AKIA1", "secret": "hunter2!"},
    "s3://archive": {"key": "AKIA2", "secret": "hunter3!"},
    "s3://archive/old": {"anon": True},
    "sftp://host:22": {"username": "al", "client_keys": ["/keys/al"], "passphrase": "hunter4!"},
    "S3A": {"anon": True},
}


@pytest.mark.parametrize(
    ("url", "key"),
    {
        "s3://calls/a.wav": "AKIA1",
        "s3://archive/a.wav": "AKIA2",
        "S3://archive/old/a.wav": "AKIA2",
        "s3://archived/a.wav": "AKIA1",
        "s3://calls/../archive/a.wav": None,
        "gs://calls/a.wav": None,
    }.items(),
)
def test_the_longest_beginning_has_the_last_word(url: str, key: str | None):
    assert SourceOptions(OPTIONS).of(url).get("key") == key


def test_a_longer_beginning_keeps_what_a_shorter_one_says():
    assert SourceOptions(OPTIONS).of("s3://archive/old/a.wav") == {
        "endpoint_url": "https://minio:9000", "key": "AKIA2", "secret": "hunter3!", "anon": True,
    }  # fmt: skip
    assert SourceOptions(OPTIONS).of("s3a://x") == {"anon": True}


def test_a_host_has_its_options_whoever_the_user_is():
    for url in ("sftp://host/in/a.wav", "sftp://bob@HOST/in/a.wav"):
        assert SourceOptions(OPTIONS).of(url)["username"] == "al"
    assert SourceOptions(OPTIONS).of("sftp://host:2222/a.wav") == {}


def test_nothing_secret_is_shown():
    shown = shown_options(OPTIONS | {"http://u:hunter5!@h": {"headers": {"x": "hunter6!"}}})
    assert "hunter" not in shown
    assert "AKIA" not in shown
    for plain in ("https://minio:9000", '"anon": true', '"username": "al"', "/keys/al"):
        assert plain in shown


def test_what_a_driver_repeats_is_hidden():
    options = SourceOptions(OPTIONS)
    assert options.hidden("no hunter2! and hunter4!, al") == "no *** and ***, al"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"s3": "hunter2!"}, "s3: write a JSON object"),
        ({"sftp://u:hunter2!@h": {}}, "secret"),
        ({"s3://a/../b": {}}, "s3://a/../b"),
        ({"s3": {"block_size": 0}}, "block_size"),
        ({"s3": {"block_size": "hunter2!"}}, "block_size"),
    ],
)
def test_faults_are_told_without_the_value(options: dict[str, object], words: str):
    told = "\n".join(option_faults(options))
    assert words in told
    assert "hunter2" not in told


def test_good_options_have_no_fault():
    assert list(option_faults(OPTIONS)) == []
