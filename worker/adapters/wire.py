"""What both adapters of the service share: TLS, and credentials fit for a header."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from worker.core.messages import credential_headers, wire_credentials
from worker.core.model import Credentials
from worker.errors import ConfigurationError

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


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


def sendable_credentials(credentials: Credentials, *, decode: bool) -> Credentials:
    """The credentials as they travel.

    Raises:
        ConfigurationError: one of them holds a character that no header can carry. Checked
            here because the libraries' own complaints quote the value.
    """
    sent = wire_credentials(credentials, decode=decode)
    faults = [
        f"CHATFLOW_{name}: holds a control character, a line break for example"
        for name, value in _named(sent)
        if _CONTROL.search(value)
    ]
    if faults:
        raise ConfigurationError(*faults)
    return sent


def _named(credentials: Credentials) -> tuple[tuple[str, str], ...]:
    return (
        ("ROBOT_KEY", credentials.robot_key),
        ("ROBOT_TOKEN", credentials.robot_token),
        ("USERNAME", credentials.username),
    )


def latin_headers(credentials: Credentials) -> dict[str, str]:
    """The credential headers with UTF-8 behind Latin-1 characters.

    HTTP libraries write header text as ASCII or Latin-1 and fail on the rest; this way every
    user name reaches the wire as UTF-8.
    """
    headers = credential_headers(credentials)
    return {name: value.encode().decode("latin-1") for name, value in headers.items()}
