"""TLS to the service: always verified."""

from __future__ import annotations

import ssl
from pathlib import Path

from worker.errors import ConfigurationError


def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """A context that verifies, against the system's authorities or those of `ca_bundle`.

    Raises:
        ConfigurationError: the bundle can't be read, or holds no certificate.
    """
    if ca_bundle is None:
        return ssl.create_default_context()
    try:
        if Path(ca_bundle).is_dir():
            return ssl.create_default_context(capath=ca_bundle)
        return ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"CHATFLOW_CA_BUNDLE: {ca_bundle} can't be used: {error}"
        ) from error
