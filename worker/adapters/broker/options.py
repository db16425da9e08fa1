"""What the broker's client is told: how to wait, whom to trust, what the operator wants.

The operator's options have the names of redis-py and kombu, for every kind of broker: those that
begin with ``ssl_`` are about TLS, all others about the transport.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

VISIBILITY_TIMEOUT = 900
"""Seconds after which Redis gives an unacknowledged message to somebody else: far more than a
shift and its drain take. No message waits longer, since none has an ETA."""

SENTINEL_PATIENCE = 3.0
"""Seconds for one sentinel to answer; there are others to ask."""

_TLS = "ssl_"
_VERIFY = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}


def is_amqp(broker: str) -> bool:
    """Whether this is RabbitMQ."""
    return broker.startswith(("amqp", "pyamqp"))


def transport_options(broker: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The same for worker, beat, flower and producers: on Redis the shortest visibility wins."""
    if broker.startswith("memory"):
        return {"polling_interval": 0.02}  # the default of 1 s would cost a second per message
    plain = {k: v for k, v in options.items() if not k.startswith(_TLS)}
    if is_amqp(broker):
        # A wake-up is sent when the broker has it, not before.
        return {"confirm_publish": True} | plain
    if broker.startswith("sentinel://"):
        plain["sentinel_kwargs"] = _to_sentinels(broker, options)
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 3,  # a dead worker's messages are seen within about 30 s
        "socket_timeout": 30,  # the default None lets a publish hang on a dead peer
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,  # a half-open connection is noticed
    } | plain


def tls_options(broker: str, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """How the broker's certificate is looked at; None where there is no TLS.

    kombu's `rediss://` verifies nothing unless it is told to, its `amqps://` no server's name.
    """
    given = {k: v for k, v in options.items() if k.startswith(_TLS)}
    if "ssl_cert_reqs" in given:
        given["ssl_cert_reqs"] = _VERIFY[given["ssl_cert_reqs"]]
    if broker.startswith(("rediss://", "amqps://")) or (given and broker.startswith("sentinel://")):
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED, **given}
    return None


def _to_sentinels(broker: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What sentinels are told: TLS as the servers they watch, unless something else is said."""
    tls = tls_options(broker, options)
    return {
        "socket_timeout": SENTINEL_PATIENCE,
        "socket_connect_timeout": SENTINEL_PATIENCE,
        **({"ssl": True, **tls} if tls else {}),
        **options.get("sentinel_kwargs", {}),
    }
