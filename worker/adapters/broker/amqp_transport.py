"""kombu's AMQP transport behind TLS, with one gap closed.

Left to itself it asks for a certificate of a known authority and does not look whose it is, so that
any certificate will do. Told a name, it takes that one for every node of a cluster. Here the
name is that of the node that is about to be connected.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from kombu.transport import pyamqp


def tls_to(host: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the AMQP library is told, by its own names, which have no `ssl_` before them.

    Args:
        host: the node to be connected.
        given: options by redis-py's names or the library's own.
    """
    plain = {key.removeprefix("ssl_"): value for key, value in given.items()}
    checked = plain.pop("check_hostname", True) and plain.get("cert_reqs") != ssl.CERT_NONE
    named = {"server_hostname": host} if checked else {}
    return {"cert_reqs": ssl.CERT_REQUIRED} | named | plain


class SSLTransport(pyamqp.SSLTransport):
    """``amqps://``."""

    def establish_connection(self) -> Any:
        """Connect to the node whose turn it is."""
        client: Any = self.client
        host, given = client.hostname or "localhost", client.ssl
        client.ssl = tls_to(host, given if isinstance(given, Mapping) else {})
        try:
            return super().establish_connection()
        finally:
            client.hostname, client.ssl = host, given  # kombu writes a number for "localhost"
