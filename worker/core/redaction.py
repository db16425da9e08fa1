"""Keeping credentials out of the words that a service sends back."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote, unquote

from worker.core.model.wire import Credentials

LONGEST = 1000
"""Characters of the service's words that are kept: they end in logs and in database rows."""


def redactor(credentials: Credentials) -> Callable[[str], str]:
    """A function that takes the credentials out of a text, and bounds its length.

    A service may well answer "token XYZ is not valid". Each credential is looked for as given,
    percent-decoded and percent-encoded.
    """
    known = (credentials.robot_key, credentials.robot_token, credentials.username)
    spelled = {form for value in known for form in (value, unquote(value), quote(value, safe=""))}
    longest_first = sorted((form for form in spelled if len(form) > 2), key=len, reverse=True)
    if not longest_first:
        return lambda text: text[:LONGEST]
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub("[redacted]", text)[:LONGEST]
