"""The Retry-After header, in both of its forms."""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 3600.0
"""Seconds; a header that says more is taken for a mistake of the service, and shortened to it."""


def seconds_to_wait(header: str | None, now: float) -> float | None:
    """Read a Retry-After header.

    Args:
        header: seconds or an HTTP date, None when the reply has no such header.
        now: POSIX seconds, which a date is counted from.

    Returns:
        Seconds between 0 and `LONGEST_WAIT`, or None for a header that says nothing usable.
    """
    if header is None:
        return None
    wait = _seconds(header.strip())
    if wait is None:
        wait = _until(header.strip(), now)
    return None if wait is None else min(max(wait, 0.0), LONGEST_WAIT)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return None if math.isnan(seconds) else seconds


def _until(text: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone means GMT here.
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.timestamp() - now
    except (ValueError, OverflowError):
        return None
