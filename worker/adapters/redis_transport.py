"""kombu's Redis transport, with one gap closed: what happens to the channel of a lost connection.

kombu takes a lost connection apart, but its channel is still asked to acknowledge the tasks that
were running and to give back what was not acknowledged. It then looks for the address to connect
to where there is none any more, and the AttributeError ends the worker. Here it is told the truth,
a connection error, which kombu and Celery expect and live with.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis
from redis.exceptions import ConnectionError as RedisConnectionError


class _Detachable:
    """Mixed into a channel: no connection can be made once its transport was taken apart."""

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - as kombu calls it
        if getattr(self.connection, "client", None) is None:  # type: ignore[attr-defined]
            raise RedisConnectionError("the connection of this channel was lost")
        return super()._connparams(asynchronous)  # type: ignore[misc]


class _Channel(_Detachable, redis.Channel):
    pass


class _SentinelChannel(_Detachable, redis.SentinelChannel):
    pass


class Transport(redis.Transport):
    """``redis://`` and ``rediss://``."""

    Channel = _Channel


class SentinelTransport(redis.SentinelTransport):
    """``sentinel://``."""

    Channel = _SentinelChannel
