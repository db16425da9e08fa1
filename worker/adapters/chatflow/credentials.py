"""Credentials, fit for a header."""

from __future__ import annotations

import re

from worker.core.messages import credential_headers
from worker.core.model.wire import Credentials
from worker.errors import ConfigurationError

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def sendable_credentials(credentials: Credentials) -> Credentials:
    """The credentials, once it is known that headers can carry them.

    Raises:
        ConfigurationError: one of them holds a character that no header can carry. Checked
            here because the libraries' own complaints quote the value.
    """
    faults = [
        f"CHATFLOW_{name}: holds a control character, a line break for example"
        for name, value in _named(credentials)
        if _CONTROL.search(value)
    ]
    if faults:
        raise ConfigurationError(*faults)
    return credentials


def _named(credentials: Credentials) -> tuple[tuple[str, str], ...]:
    return (
        ("ROBOT_KEY", credentials.robot_key),
        ("ROBOT_TOKEN", credentials.robot_token),
        ("USERNAME", credentials.username),
    )


def latin_headers(credentials: Credentials) -> dict[str, str]:
    """The credential headers, each value's UTF-8 bytes decoded as Latin-1.

    HTTP libraries encode header text as ASCII or Latin-1 and fail on the rest; so they put UTF-8
    on the wire.
    """
    headers = credential_headers(credentials)
    return {name: value.encode().decode("latin-1") for name, value in headers.items()}
