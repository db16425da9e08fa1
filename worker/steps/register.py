"""Register: hand a batch and its files in, a chunk at a time, and seal it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256

from worker.core.addresses import without_secrets
from worker.core.model.batches import NewBatch
from worker.core.model.ids import BatchId
from worker.core.pieces import pieces
from worker.ports.batches import Batches

LONGEST_SOURCE = 8000
"""Characters of a path or URL that are kept: twice what a path may have."""

CHUNK = 1000
"""Files in one transaction: work on the first ones starts while the rest is still listed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a hand-in that travels in several.

    Attributes:
        number: from 1.
        of: how many there are.
        hand_in: what they have in common, "" when their sender does not say.
    """

    number: int
    of: int
    hand_in: str = ""


def register(
    store: Batches,
    batch: NewBatch,
    sources: Iterable[str],
    *,
    part: Part | None = None,
    on_batch: Callable[[BatchId], None] = lambda _: None,
) -> int:
    """Create the batch, or find it again, and add the files that it does not have yet.

    Args:
        part: when the hand-in comes in several messages: the batch is sealed when all of them
            have been registered, in whatever order they arrive.
        on_batch: told the id as soon as the batch is in the database.

    Returns:
        How many files were new.
    """
    store.create_batch(batch)
    on_batch(batch.id)
    groups = pieces(map(fitting, sources), CHUNK)
    added = sum(store.add_files(batch.id, group, batch.crew, force=batch.force) for group in groups)
    if part is None:
        store.seal(batch.id)
    else:
        store.record_part(batch.id, part.number, part.of, part.hand_in)
    store.finish([batch.id])  # a batch without files is finished at once
    return added


def fitting(source: str) -> str:
    """The source as a row may keep it: of bounded length, and without secrets.

    No file has a path that is longer, so that what is cut is not found, and says so.
    """
    source = without_secrets(source)
    if len(source) <= LONGEST_SOURCE:
        return source
    digest = sha256(source.encode(errors="surrogatepass")).hexdigest()
    return f"{source[: LONGEST_SOURCE - len(digest) - 1]}…{digest}"
