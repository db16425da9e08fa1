"""kombu's Redis transport, with four gaps closed.

*A lost connection.* kombu takes it apart, but its channel is still asked to acknowledge the tasks
that were running and to give back what was not acknowledged. It then looks for the address to
connect to where there is none any more, and the AttributeError ends the worker. Here it is told the
truth, a connection error, which kombu and Celery expect and live with.

*A server that became a replica* refuses whatever writes. To kombu that is an error of the channel,
which ends the worker; here it is one of the connection, so that it connects again, and
finds the server that took over.

*What is no message.* A queue is a list that anything can be pushed onto. kombu ends the worker over
what is not in its format; here that is put into an envelope, for the consumer to refuse.

*A sentinel that is gone* is asked four times, with pauses, each time somebody connects, and senders
give up meanwhile. Here it is asked once, for there are others.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from kombu.transport import redis
from kombu.transport.virtual import Message
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError
from redis.retry import Retry

_DEMOTED = (ReadOnlyError, MasterDownError)


class _Robust:
    """Mixed into a channel."""

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - as kombu calls it
        if getattr(self.connection, "client", None) is None:  # type: ignore[attr-defined]
            raise RedisConnectionError("the connection of this channel was lost")
        return super()._connparams(asynchronous)  # type: ignore[misc]

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except ResponseError as error:  # it was waiting when the server became a replica
            self.client.connection.disconnect()  # type: ignore[attr-defined]
            raise RedisConnectionError(str(error)) from error
        except (ValueError, RecursionError):  # no JSON; which queue it came from does not matter
            self.connection._deliver(None, self.active_queues[0])  # type: ignore[attr-defined]
            return True


class _RobustTransport:
    """Mixed into a transport."""

    connection_errors = (*redis.Transport.connection_errors, *_DEMOTED)

    def _deliver(self, message: Any, queue: str) -> None:
        channel = next(iter(self.channels), None)  # type: ignore[attr-defined]
        proper = channel is None or _is_message(message, channel)
        super()._deliver(message if proper else _envelope(), queue)  # type: ignore[misc]


def _is_message(raw: Any, channel: Any) -> bool:
    """Whether kombu can make a message of it, and note where it came from."""
    try:
        message = Message(raw, channel=channel)
        where = message.delivery_info["exchange"], message.delivery_info["routing_key"]
    except Exception:  # noqa: BLE001 - whatever it stumbles over would end the worker
        return False
    return all(isinstance(text, str) for text in (message.delivery_tag, *where))


def _envelope() -> dict[str, Any]:
    """A message without contents in place of what is none."""
    return {
        "body": "",
        "content-type": "application/x-malformed",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {
            "delivery_tag": str(uuid4()),
            "delivery_info": {"exchange": "", "routing_key": ""},
        },
    }


class _Channel(_Robust, redis.Channel):
    pass


class _SentinelChannel(_Robust, redis.SentinelChannel):
    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - as kombu calls it
        once = {"retry": Retry(NoBackoff(), 0)}
        self.sentinel_kwargs = once | (getattr(self, "sentinel_kwargs", None) or {})
        return super()._sentinel_managed_pool(asynchronous)  # type: ignore[misc]


class Transport(_RobustTransport, redis.Transport):  # type: ignore[misc]
    """``redis://`` and ``rediss://``."""

    Channel = _Channel


class SentinelTransport(_RobustTransport, redis.SentinelTransport):  # type: ignore[misc]
    """``sentinel://``."""

    Channel = _SentinelChannel
