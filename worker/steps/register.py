"""Register: hand a batch and its files in, a chunk at a time, and seal it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from worker.core.model import BatchId, NewBatch
from worker.ports import Batches

CHUNK = 1000
"""Files in one transaction: work on the first ones starts while the rest is still listed."""


def register(
    store: Batches,
    batch: NewBatch,
    sources: Iterable[str],
    *,
    part: tuple[int, int] | None = None,
    on_batch: Callable[[BatchId], None] = lambda _: None,
) -> int:
    """Create the batch, or find it again, and add the files that it does not have yet.

    Args:
        part: (number, of how many) when the batch comes in several messages: it is sealed when
            all of them have been registered, in whatever order they arrive.
        on_batch: told the id as soon as the batch is in the database.

    Returns:
        How many files were new.
    """
    store.create_batch(batch)
    on_batch(batch.id)
    added = sum(store.add_files(batch.id, chunk) for chunk in _chunks(sources))
    if part is None:
        store.seal(batch.id)
    else:
        store.record_part(batch.id, *part)
    store.finish([batch.id])  # a batch without files is finished at once
    return added


def _chunks(sources: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(sources)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk
