"""Which batch or file the user means, and what a shell offers on TAB."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING

from worker.cli.terminal import shown
from worker.core.addresses import bare
from worker.core.naming import SHORTEST
from worker.core.words import counted
from worker.errors import Ambiguous, UnknownBatch, UnknownFile

if TYPE_CHECKING:
    from worker.core.model.ids import BatchId, FileId
    from worker.core.seen import NamedBatch, NamedFile
    from worker.ports.batches import Naming

LISTED = 10
"""Candidates of an ambiguous name that are listed."""

COMPLETED = 50
"""Batches that a shell is offered."""

_WAYS = f"an id, its first {SHORTEST} or more characters, an external key or `latest`"


def find_batch(store: Naming, name: str) -> BatchId:
    """The one batch that this names.

    Raises:
        UnknownBatch: there is none.
        Ambiguous: there are several.
    """
    match store.batches_named(name, LISTED + 1):
        case []:
            raise UnknownBatch(
                f"no batch {shown(name)!r}: name {_WAYS}; `chatflow-ingest status` lists them"
            )
        case [one]:
            return one.batch_id
        case many:
            raise Ambiguous(_listed(f"{shown(name)!r} may be", map(_batch_line, many), len(many)))


def find_file(store: Naming, file_or_batch: str, name: str | None = None) -> FileId:
    """The one file with this id, or beginning of an id, or with this name in a batch.

    Raises:
        UnknownBatch, UnknownFile: there is none.
        Ambiguous: there are several.
    """
    batch = None if name is None else find_batch(store, file_or_batch)
    wanted = file_or_batch if name is None else name
    match store.files_named(wanted, batch, LISTED + 1):
        case []:
            raise UnknownFile(_no_file(wanted, batch))
        case [one]:
            return one.file_id
        case many:
            raise Ambiguous(_listed(f"{shown(wanted)!r} may be", map(_file_line, many), len(many)))


def _no_file(wanted: str, batch: BatchId | None) -> str:
    if batch is None:
        return (
            f"no file {shown(wanted)!r}: name its id, the first {SHORTEST} or more characters"
            " of it, or BATCH NAME; `chatflow-ingest results BATCH` has the ids as file_id"
        )
    return (
        f"batch {batch} has no file {shown(wanted)!r}: `chatflow-ingest results {batch}` lists its"
        " files, `chatflow-ingest status` other batches"
    )


def _listed(head: str, lines: Iterable[str], count: int) -> str:
    shown_lines = [f"  {line}" for line, _ in zip(lines, range(LISTED), strict=False)]
    more = ["  and more"] if count > LISTED else []
    return "\n".join([f"{head}:", *shown_lines, *more])


def _batch_line(batch: NamedBatch) -> str:
    key = f"  {shown(batch.external_key)}" if batch.external_key else ""
    return f"{batch.batch_id}  {batch.started_at:%Y-%m-%d %H:%M:%S}  {batch.profile}{key}"


def _file_line(file: NamedFile) -> str:
    return f"{file.file_id}  {file.state}  {shown(bare(file.source))}"


def complete_batch(incomplete: str) -> list[tuple[str, str]]:
    """What a shell may offer for BATCH: the newest batches' ids and keys, and `latest`."""
    from worker.bootstrap import open_existing
    from worker.errors import IngestError
    from worker.settings import Settings

    try:
        with closing(open_existing(Settings.load())) as store:
            newest = store.batches(COMPLETED)
    except IngestError:  # a shell that asks must never see a fault
        return []
    offers = [("latest", "the newest batch")] if newest else []
    for status in newest:
        about = f"{status.state}, {counted(status.total, 'file')}"
        offers.append((str(status.batch_id), about))
        if status.external_key:
            offers.append((status.external_key, about))
    return [(name, about) for name, about in offers if name.startswith(incomplete)]
