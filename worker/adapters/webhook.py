"""Webhooks, signed as Standard Webhooks prescribes and kept out of private networks.

Whoever may hand in a batch chooses the address that this worker then calls, so only public
addresses over https are called unless the operator allowed a URL prefix. The check is made on the
socket that is about to be connected: a name that resolves to something else a moment later, or an
address in an unusual spelling, is met by the same check.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from standardwebhooks import Webhook
from yarl import URL

from worker.codes import ErrorCode
from worker.core.addresses import climbs
from worker.core.order import notify_fault
from worker.core.retry_after import seconds_to_wait
from worker.errors import (
    ConfigurationError,
    GiveUp,
    ServiceBusy,
    ServiceFault,
    ServiceUnreachable,
    TryLater,
)

TIMEOUT = 20.0
"""Seconds for one whole delivery; a receiver that needs longer should answer first, then work."""

_GONE = 410
_NAT64 = IPv6Network("64:ff9b::/96")
_NO_SECRET = "INGEST_WEBHOOK_SECRET is not set, so no webhook can be signed"  # noqa: S105 - no secret


def check_target(notify: object, allow: Sequence[str], *, has_secret: bool) -> str | None:
    """What is wrong with a batch's `notify`, or None when it may be delivered to.

    Args:
        notify: the caller's object, {"task", "queue"} or {"url"}.
        allow: URL prefixes that may be plain http or private addresses.
        has_secret: whether webhooks can be signed.
    """
    fault = notify_fault(notify)
    if fault is not None:
        return f"notify: {fault}"
    if not isinstance(notify, Mapping) or "url" not in notify:
        return None
    fault = None if has_secret else _NO_SECRET
    return fault or _url_fault(notify["url"], allow)


def _url_fault(text: str, allow: Sequence[str]) -> str | None:
    """Why this address may not be called, as far as that can be told without looking it up."""
    url = _parse(text)
    if url is None or url.scheme not in {"http", "https"} or not url.host:
        return "notify: url: write it as https://HOST/PATH"
    if url.user is not None or url.password is not None:
        return "notify: url: keep user and password out of the address"
    if _is_allowed(url, allow):
        return None
    if url.scheme != "https":
        return "notify: url: plain http needs a prefix in INGEST_WEBHOOK_ALLOW"
    if _is_private_literal(url.host):
        return "notify: url: a private address needs a prefix in INGEST_WEBHOOK_ALLOW"
    return None


def _parse(text: str) -> URL | None:
    try:
        return URL(text)
    except ValueError:
        return None


def _is_allowed(url: URL, allow: Sequence[str]) -> bool:
    return any(_covers(prefix, url) for text in allow if (prefix := _parse(text)) is not None)


def _covers(prefix: URL, url: URL) -> bool:
    """Whether the prefix covers this address, by whole parts: host, port, steps of the path.

    A prefix without a port covers every port of its host.
    """
    folder = prefix.path.rstrip("/")
    return (
        (prefix.scheme, prefix.host) == (url.scheme, url.host)
        and prefix.explicit_port in {None, url.port}
        and not climbs(url.raw_path)
        and (url.path == folder or url.path.startswith(f"{folder}/"))
    )


def _is_private_literal(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        return False  # a name: looked at when it is resolved


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public internet.

    An IPv4 address inside an IPv6 one (mapped, 6to4, Teredo, NAT64) is looked at itself.

    Raises:
        ValueError: no IP address.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return _is_public(inner)
    return _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def _public_socket(info: tuple[Any, ...]) -> socket.socket:
    """Make the socket for one resolved address, if it is a public one."""
    family, kind, protocol, _, where = info
    if not is_public(str(where[0])):
        raise GiveUp(
            "the webhook's host has a private address; allow it with INGEST_WEBHOOK_ALLOW",
            code=ErrorCode.WEBHOOK_REFUSED,
        )
    return socket.socket(family=family, type=kind, proto=protocol)


class SignedWebhooks:
    """Posts signed messages.

    Args:
        secret: `whsec_...`, or None when no webhook can be signed.
        allow: URL prefixes that may be plain http or private addresses.
        timeout: seconds for one delivery.
        resolver: looks names up; None for the system's.
        tls: whom to trust; None for the system's authorities.

    Raises:
        ConfigurationError: the secret is not base64.
    """

    def __init__(
        self,
        secret: str | None,
        allow: Sequence[str] = (),
        *,
        timeout: float = TIMEOUT,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._signer = _signer(secret)
        self._allow = tuple(allow)
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._resolver = resolver
        self._tls = tls

    async def post(self, url: str, message_id: str, body: bytes) -> None:
        """Deliver one message; its id stays the same however often it is sent.

        Raises:
            GiveUp: the address may not be called, or answered 410: it wants no more messages.
            TryLater: any other answer than 2xx (`ServiceBusy` when it says how long to wait),
                no connection, silence, or no secret to sign with.
        """
        fault = _url_fault(url, self._allow)
        if fault is not None:
            raise GiveUp(fault, code=ErrorCode.WEBHOOK_REFUSED)
        headers = self._headers(message_id, body)
        try:
            async with self._session(URL(url)) as session:
                reply = await session.post(url, data=body, headers=headers, allow_redirects=False)
                _judge(reply)
                reply.close()
        except TimeoutError as error:
            raise ServiceFault(f"no answer within {self._timeout.total:g} s") from error
        except aiohttp.ClientConnectionError as error:
            raise ServiceUnreachable(f"no connection: {type(error).__name__}") from error
        except aiohttp.ClientError as error:
            raise ServiceFault(f"no proper answer: {type(error).__name__}") from error

    def _session(self, url: URL) -> aiohttp.ClientSession:
        """A session of its own: kept connections would be past the check, and need it again."""
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            use_dns_cache=False,
            happy_eyeballs_delay=None,  # one address after the other: the first refusal counts
            socket_factory=None if _is_allowed(url, self._allow) else _public_socket,
            ssl=self._tls or True,
        )
        return aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
        )

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        if self._signer is None:
            raise TryLater(_NO_SECRET, code=ErrorCode.WEBHOOK_UNSIGNED)
        now = datetime.now(UTC)
        return {
            "content-type": "application/json",
            "user-agent": "chatflow-ingest",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(message_id, now, body.decode()),
        }


def _signer(secret: str | None) -> Webhook | None:
    if secret is None:
        return None
    try:
        return Webhook(secret)
    except Exception:  # noqa: BLE001 - the library's words may quote the secret
        raise ConfigurationError("INGEST_WEBHOOK_SECRET: write it as whsec_ and base64") from None


def _judge(reply: aiohttp.ClientResponse) -> None:
    """Tell a delivery from a failure; a redirect is one, since it was not followed."""
    if 200 <= reply.status < 300:
        return
    words = f"the webhook answered {reply.status}"
    if reply.status == _GONE:
        raise GiveUp(words, code=ErrorCode.WEBHOOK_GONE)
    wait = seconds_to_wait(reply.headers.get("Retry-After"), datetime.now(UTC).timestamp())
    raise ServiceFault(words) if wait is None else ServiceBusy(words, retry_after=wait)
