"""Flower asks for a password unless its own options say how it is to be guarded.

Flower itself is open to everyone by default, and shows every task and worker.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import MutableMapping, Sequence

CHOSEN_BY = ("FLOWER_BASIC_AUTH", "FLOWER_AUTH", "FLOWER_CONF")
_OPEN_BY, _YES = "FLOWER_UNAUTHENTICATED_API", {"1", "on", "t", "true", "y", "yes"}  # as Flower
_OPTIONS = ("--basic-auth", "--basic_auth", "--auth", "--conf")
USER = "flower"


def guard_flower(arguments: Sequence[str], environment: MutableMapping[str, str]) -> str | None:
    """Give Flower a password for this start, if it is being started without a guard.

    Args:
        arguments: the command line of this process.
        environment: where Flower will look for its options.

    Returns:
        The password, None when there was no need for one.
    """
    if "flower" not in arguments[1:]:
        return None
    if any(environment.get(name) for name in CHOSEN_BY):
        return None
    if environment.get(_OPEN_BY, "").strip().lower() in _YES:
        return None
    options = {argument.partition("=")[0] for argument in arguments}
    if options & set(_OPTIONS):
        return None
    password = secrets.token_urlsafe(12)
    environment["FLOWER_BASIC_AUTH"] = f"{USER}:{password}"
    return password


def say_password(password: str) -> None:
    """Tell whoever started Flower how to get in."""
    sys.stderr.write(
        f"Flower asks for user {USER!r} and password {password!r}, for this start only;"
        " set FLOWER_BASIC_AUTH=USER:PASSWORD to choose them\n"
    )
