import pytest
from kombu import Connection

from worker.adapters.broker import redis_transport


def test_the_channel_of_a_lost_connection_fails_as_lost_connections_do(redis_url):
    with Connection(redis_url, transport=redis_transport.Transport) as connection:
        channel = connection.default_channel
        assert channel.client.ping()
        channel._disconnect_pools()
        transport = connection.transport
        transport.client = None
        with pytest.raises(connection.connection_errors, match="was lost"):
            channel.qos.ack("a tag")
        transport.client = connection


def test_the_application_connects_through_it():
    import worker.app  # noqa: F401 - for its effect

    connection = Connection("rediss://127.0.0.1:1/0")
    assert connection.get_transport_cls() is redis_transport.Transport
    sentinel = Connection("sentinel://127.0.0.1:1/0")
    assert sentinel.get_transport_cls() is redis_transport.SentinelTransport
