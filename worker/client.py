"""What upstream Python jobs import: hand in a batch, wait for it, read what came out.

Importing it is cheap, as DAG files are read again and again: what a call needs it imports itself.
`submit_batch` sends messages to the workers, as any other Celery client may by name, see the
README; everything else speaks to the database, whose address is `database_url`, or else what
`INGEST_DATABASE_URL` says. A batch is named by its id, the first characters of it, its external
key or `latest`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from worker.core.naming import BATCH_NAMESPACE, batch_id_for
from worker.core.words import counted

if TYPE_CHECKING:
    from celery import Celery

    from worker.adapters.database import SqlStore
    from worker.core.model.batches import BatchStatus
    from worker.core.model.ids import BatchId
    from worker.core.model.stories import FileResult

__all__ = [
    "BATCH_NAMESPACE",
    "batch_id_for",
    "cancel",
    "results",
    "retry",
    "status",
    "submit_batch",
    "wait",
]

TASK = "worker.ingest_batch"

FILES_PER_MESSAGE = 2000
"""Paths in one message: some hundred kilobytes, which every broker takes."""

LOOK_EVERY = 1.0
"""Seconds between two looks at a batch that is waited for."""

UNSUCCESSFUL = ("failed", "timed_out", "rejected")
"""The states from which `retry` opens files again, unless it is told others."""


def submit_batch(
    app: Celery,
    files: Sequence[str],
    *,
    category: str | None = None,
    profile: str = "default",
    external_key: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    notify: Mapping[str, str] | None = None,
    force: bool = False,
) -> UUID:
    """Hand in a batch through a Celery application; returns its id, known without waiting.

    Many files travel in several messages; the batch can't finish before the last has arrived.

    Args:
        app: any Celery application that knows the broker's address.
        files: absolute paths or URLs, as the workers see them.
        category: name of the category; by format when None.
        profile: which of the installation's profiles.
        external_key: the same key is the same batch; only new files are added to it.
        inputs: further flow variables, a JSON object.
        notify: `{"task": name, "queue": name}` or `{"url": "https://..."}`.
        force: upload the files even if results of the same bytes are known.

    Raises:
        ValueError: what can't be handed in, a line for each fault; nothing was sent.
        kombu.exceptions.OperationalError: the broker is away; again with the same key is safe.
    """
    asked = {"category": category, "profile": profile, "external_key": external_key or None}
    forced = {"force": True} if force else {}  # older workers don't know the field
    messages = _checked(files, {**asked, **forced, "inputs": inputs, "notify": notify})
    batch = batch_id_for(profile, external_key) if external_key else uuid4()
    if len(messages) > 1:
        _number(messages, batch)
    # Without a key the first message's task id is the batch's id.
    ids = [None if external_key else str(batch), *[None] * (len(messages) - 1)]
    for message, task in zip(messages, ids, strict=True):
        app.send_task(TASK, kwargs=message, task_id=task, kwargsrepr=_told(message, batch))
    return batch


def _told(message: Mapping[str, Any], batch: UUID) -> str:
    """What Flower shows of the task: which batch it is for, and not thousands of paths."""
    names = ("profile", "category", "external_key")
    files = counted(len(message["files"]), "file")
    return repr({name: message[name] for name in names} | {"batch_id": str(batch), "files": files})


def _checked(files: Sequence[str], asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages that the files travel in, all checked before the first is sent."""
    from worker.core.order import BatchOrder

    if isinstance(files, str):
        raise ValueError("files: write a list of paths")  # noqa: TRY004 - a fault like all others
    starts = range(0, len(files), FILES_PER_MESSAGE) or [0]
    chunks = [list(files[start : start + FILES_PER_MESSAGE]) for start in starts]
    for chunk in chunks:
        BatchOrder.checked({**asked, "files": chunk})
    inputs, notify = asked["inputs"], asked["notify"]
    plain = {"inputs": dict(inputs or {}), "notify": dict(notify) if notify else None}
    return [{**asked, **plain, "files": chunk} for chunk in chunks]


def _number(messages: Sequence[dict[str, Any]], batch: UUID) -> None:
    """Say on each of several messages what it is a part of."""
    hand_in = str(uuid4())
    for part, message in enumerate(messages, start=1):
        message.update(batch_id=str(batch), part=part, parts=len(messages), hand_in=hand_in)


# --- on the database -----------------------------------------------------------------------------


def status(batch: UUID | str, *, database_url: str | None = None) -> BatchStatus:
    """A batch as it stands: its state, and how many of its files are in which state.

    Raises:
        worker.errors.UnknownBatch: there is none, or the workers have not taken it in yet.
        worker.errors.StoreUnavailable: the database can't be reached.
        worker.errors.UsageError: no such database, or a wrong setting.
    """
    with _found(batch, database_url) as (store, known):
        return store.status(known)


def wait(
    batch: UUID | str, timeout: float | None = None, *, database_url: str | None = None
) -> BatchStatus:
    """Wait until a batch is over, and return how it ended; how its files did is in the counts.

    A batch that the workers have not taken in yet is waited for, and so is a database that is away.

    Args:
        batch: which one.
        timeout: seconds to wait at most; None is for ever.
        database_url: where it is kept.

    Raises:
        TimeoutError: it is not over yet; it goes on, and can be waited for again.
        worker.errors.UsageError: as `status`, but for an unknown batch.
    """
    from worker.core.lifecycle import BatchState
    from worker.errors import StoreUnavailable, UnknownBatch

    end = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            seen = status(batch, database_url=database_url)
        except (UnknownBatch, StoreUnavailable) as error:
            standing = error.message
        else:
            if seen.state is not BatchState.RUNNING:
                return seen
            counts = ", ".join(f"{n} {state}" for state, n in seen.counts.items() if n)
            standing = f"its files: {counts or 'none'}"
        left = LOOK_EVERY if end is None else end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"batch {batch} is not over after {timeout:g} s; {standing}")
        time.sleep(min(LOOK_EVERY, left))


def results(batch: UUID | str, *, database_url: str | None = None) -> Iterator[FileResult]:
    """Every file of a batch in its turn, in whatever state it is; memory stays flat.

    The fields are those of `chatflow-ingest results`, with ids as UUIDs, times as datetimes in UTC
    and `parse_segments` as decoded JSON.

    Raises:
        worker.errors.IngestError: as `status`; before the first row.
    """
    with _found(batch, database_url) as (_, known):
        pass
    return _rows(known, database_url)


def _rows(batch: BatchId, database_url: str | None) -> Iterator[FileResult]:
    with _found(batch, database_url) as (store, known):
        yield from store.results(known)


def retry(
    batch: UUID | str,
    *,
    only: Collection[str] = UNSUCCESSFUL,
    codes: Collection[str] = (),
    category: str | None = None,
    database_url: str | None = None,
) -> int:
    """Give a batch's unsuccessful files back to the workers, which find them by themselves.

    Args:
        batch: which one.
        only: the states that files are taken from; also `partial` and `cancelled`.
        codes: only files with one of these error codes.
        category: only files of this category.
        database_url: where it is kept.

    Returns:
        How many files are tried again.

    Raises:
        ValueError: no such state.
        worker.errors.IngestError: as `status`.
    """
    from worker.core.lifecycle import FileState
    from worker.core.model.ids import fleet
    from worker.core.seen import Narrow

    states = [FileState(state) for state in only]
    narrow = Narrow(frozenset(codes), category)
    with _found(batch, database_url) as (store, known):
        return store.retry(known, states, fleet(store.status(known).profile), narrow)


def cancel(batch: UUID | str, *, database_url: str | None = None) -> int:
    """End every open file of a batch as `cancelled`; returns how many there were.

    Raises:
        worker.errors.IngestError: as `status`.
    """
    with _found(batch, database_url) as (store, known):
        return store.cancel(known)


@contextmanager
def _found(batch: UUID | str, database_url: str | None) -> Iterator[tuple[SqlStore, BatchId]]:
    """The database, open, and the batch in it that was named."""
    from worker.bootstrap import open_existing
    from worker.errors import Ambiguous, UnknownBatch
    from worker.settings import Settings

    given = {} if database_url is None else {"INGEST_DATABASE_URL": database_url}
    with closing(open_existing(Settings.load(**given))) as store:
        match store.batches_named(str(batch), 2):
            case []:
                raise UnknownBatch(f"no batch {str(batch)!r}")
            case [one]:
                yield store, one.batch_id
            case _:
                raise Ambiguous(f"{str(batch)!r} names several batches; name one by its id")
