"""Redirects: none is ever followed, each stops its profile and says where it led."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

from worker.core.contents import clean_text
from worker.errors import Redirected

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""HTTP statuses that send a client somewhere else."""


def redirected(asked: str, location: str | None, redact: Callable[[str], str]) -> Redirected:
    """Why a call that was answered with a redirect stops its profile.

    Args:
        asked: the address that was called.
        location: the `Location` of the answer, which may be relative to that address.
        redact: takes credentials out of it. A query and user information, which may hold other
            people's secrets, are not told at all.
    """
    where = f"to {redact(_bare(asked, location))}" if location else "without saying where"
    return Redirected(f"the service redirects {where}; set CHATFLOW_BASE_URL to its own address")


def _bare(asked: str, location: str) -> str:
    try:
        parts = urlsplit(urljoin(asked, location))
        host = parts.netloc.rpartition("@")[2]
    except ValueError:  # a broken IPv6 address
        return "an address that can't be read"
    return clean_text(parts._replace(netloc=host, query="", fragment="").geturl())
