"""What is said about the broker: told by the variable's name when it can't be meant."""

from __future__ import annotations

import pytest

from worker.errors import ConfigurationError
from worker.settings import Settings


@pytest.mark.parametrize(
    ("url", "options", "word"),
    [
        ("redis://h", "[]", "INGEST_BROKER_OPTIONS"),
        ("redis://h", "5", "INGEST_BROKER_OPTIONS"),
        ("redis://h", "no json", "INGEST_BROKER_OPTIONS"),
        ("redis://h", '"text"', "INGEST_BROKER_OPTIONS"),
        ("sentinel://h:26379", "{}", "INGEST_BROKER_OPTIONS: .*master"),
        ("sentinel://h:26379", '{"master_name": ""}', "INGEST_BROKER_OPTIONS: .*master"),
        (
            "sentinel://h",
            '{"master_name": "m", "sentinel_kwargs": "password"}',
            "sentinel_kwargs: write a JSON object",
        ),
        (
            "sentinel://one:26379;two:26379",
            '{"master_name": "m"}',
            "INGEST_BROKER_URL: every address .* sentinel://",
        ),
        ("redis://h", '{"ssl_ca_certs": "ca.crt"}', "ssl_ca_certs: redis:// is without TLS"),
        ("amqp://h", '{"ssl_cert_reqs": "none"}', "write amqps://"),
        ("rediss://h", '{"ssl_ca_certs": "none.crt"}', "ssl_ca_certs: none.crt: No such file"),
        ("rediss://h", '{"ssl_keyfile": 5}', "ssl_keyfile: write the path"),
        ("amqps://h", '{"ssl_cert_reqs": "maybe"}', "ssl_cert_reqs: write one of required"),
        ("rediss://h?ssl_cert_reqs=maybe", "{}", "INGEST_BROKER_URL: ssl_cert_reqs"),
        ("rediss://h?ssl_cert_reqs=none", '{"ssl_ca_certs": "ca.crt"}', "INGEST_BROKER_OPTIONS alone"),
    ],
)  # fmt: skip
def test_what_the_brokers_client_would_stumble_over_is_told_before(
    monkeypatch, tmp_path, url, options, word
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.crt").touch()
    monkeypatch.setenv("INGEST_BROKER_URL", url)
    monkeypatch.setenv("INGEST_BROKER_OPTIONS", options)
    with pytest.raises(ConfigurationError, match=word):
        Settings.load()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "{}"),
        ("amqps://one;amqps://two", '{"ssl_cert_reqs": "none"}'),
        ("memory://", '{"ssl_ca_certs": "ca.crt"}'),
        ("sentinel://one;sentinel://two/1", '{"master_name": "m"}'),
    ],
)
def test_a_broker_that_can_be_connected_is_taken(monkeypatch, tmp_path, url, options):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INGEST_BROKER_URL", url)
    monkeypatch.setenv("INGEST_BROKER_OPTIONS", options)
    assert Settings.load().broker_url == url
