"""How people name a batch or a file: by its id, the beginning of one, a key of their own."""

from __future__ import annotations

import re
from uuid import NAMESPACE_URL, UUID, uuid5

BATCH_NAMESPACE = uuid5(NAMESPACE_URL, "urn:chatflow-ingest:batch")
"""The namespace of batch ids: `uuid5(BATCH_NAMESPACE, "PROFILE/EXTERNAL_KEY")`."""

LATEST = "latest"
"""The word for the newest batch."""

SHORTEST = 4
"""Characters that the beginning of an id must have, so that a typing slip names nothing."""

_DIGITS = 32
_HEX = re.compile(r"[0-9a-f]+")


def batch_id_for(profile: str, external_key: str) -> UUID:
    """The id of the batch with this external key: the same for everyone who computes it."""
    return uuid5(BATCH_NAMESPACE, f"{profile}/{external_key}")


def id_range(text: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begin with this text; None when it can't begin an id.

    Hyphens and upper case do not matter. A whole id is a range of one.
    """
    digits = text.strip().lower().replace("-", "")
    if not SHORTEST <= len(digits) <= _DIGITS or not _HEX.fullmatch(digits):
        return None
    return UUID(digits.ljust(_DIGITS, "0")), UUID(digits.ljust(_DIGITS, "f"))
