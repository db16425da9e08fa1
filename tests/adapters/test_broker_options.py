"""What the broker's client is told: certificates are verified, and sentinels treated alike."""

from __future__ import annotations

import ssl

import pytest
from kombu import Connection

import worker.app  # noqa: F401 - for the transports that it names
from worker.adapters.broker.amqp_transport import SSLTransport, tls_to
from worker.adapters.broker.options import SENTINEL_PATIENCE, tls_options, transport_options

VERIFIED = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
CA = {"ssl_ca_certs": "ca.crt"}


@pytest.mark.parametrize(
    ("broker", "options", "expected"),
    [
        ("rediss://h", {}, VERIFIED),
        ("rediss://h", CA, VERIFIED | CA),
        ("rediss://h", {"ssl_cert_reqs": "none"}, {"ssl_cert_reqs": ssl.CERT_NONE}),
        ("amqps://h", {}, VERIFIED),
        ("amqps://h", CA, VERIFIED | CA),
        ("sentinel://h", {"master_name": "m"} | CA, VERIFIED | CA),
        ("sentinel://h", {"master_name": "m"}, None),
        ("redis://h", {"visibility_timeout": 60}, None),
    ],
)
def test_a_brokers_certificate_is_verified_unless_somebody_says_otherwise(
    broker, options, expected
):
    assert tls_options(broker, options) == expected


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (True, {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "h"}),
        (VERIFIED | CA, {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "h", "ca_certs": "ca.crt"}),
        ({"ssl_cert_reqs": ssl.CERT_NONE}, {"cert_reqs": ssl.CERT_NONE}),
        ({"ssl_check_hostname": False}, {"cert_reqs": ssl.CERT_REQUIRED}),
    ],
)  # fmt: skip
def test_rabbitmqs_certificate_has_to_be_that_of_the_node(given, told):
    assert tls_to("h", given if isinstance(given, dict) else {}) == told


def test_each_node_of_a_cluster_is_known_by_its_own_name(monkeypatch):
    told = []

    class Library:
        def __init__(self, **options):
            told.append((options["host"], options["ssl"]["server_hostname"]))

        def connect(self):
            pass

    monkeypatch.setattr(SSLTransport, "Connection", Library)
    with Connection("amqps://one;amqps://localhost", ssl=tls_options("amqps://one", CA)) as broker:
        for _ in range(2):
            broker.transport.establish_connection()
        broker.switch("amqps://localhost")
        for _ in range(2):
            broker.transport.establish_connection()
    assert told == [
        ("one:5671", "one"),
        ("one:5671", "one"),
        ("127.0.0.1:5671", "localhost"),
        ("127.0.0.1:5671", "localhost"),
    ]


def test_sentinels_are_asked_as_the_servers_that_they_watch_and_not_for_long():
    options = {"master_name": "m", **CA, "sentinel_kwargs": {"password": "p"}}
    told = transport_options("sentinel://h", options)["sentinel_kwargs"]
    assert told["password"] == "p"
    assert told["ssl"] is True
    assert told["ssl_ca_certs"] == "ca.crt"
    assert told["socket_connect_timeout"] == SENTINEL_PATIENCE
    plain = {"master_name": "m", **CA, "sentinel_kwargs": {"ssl": False}}
    assert transport_options("sentinel://h", plain)["sentinel_kwargs"]["ssl"] is False
