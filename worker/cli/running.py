"""Handing a batch in, attending to it in this process, and saying how it went."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING
from uuid import uuid4

from worker.cli.faults import NOT_ALL, OK
from worker.cli.interruption import Interruption
from worker.cli.options import Selection, database_file
from worker.cli.progress import counts_text, progress
from worker.cli.terminal import put, put_json, say, shortened, shown
from worker.core.lifecycle import BatchState, FileState
from worker.core.model import BatchId, BatchStatus
from worker.core.report import status_object
from worker.errors import IngestError, StoreUnavailable

if TYPE_CHECKING:
    from worker.adapters.database import SqlStore
    from worker.ports import Store
    from worker.settings import Settings

LOOK_EVERY = 1.0
"""Seconds between two looks at the batch while its files are being listed."""

LISTED = 20
"""How many of the files that did not succeed are named at the end."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a user hands in: the files, and what holds for all of them."""

    selection: Selection
    profile: str = "default"
    category: str | None = None
    external_key: str | None = None
    inputs: str | None = None

    def new_batch(self) -> BatchId:
        """The batch's id: the same for the same external key, else a new one."""
        if self.external_key is None:
            return BatchId(uuid4())
        from worker.client import batch_id_for

        return BatchId(batch_id_for(self.profile, self.external_key))


def how_to_resume(batch: BatchId) -> str:
    """The line that an interrupted run ends with."""
    return f"go on with: chatflow-ingest run --resume {batch}"


def hand_in(
    order: Order,
    batch: BatchId,
    store: "Store",
    settings: "Settings",
    *,
    embedded: bool,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Write the batch and its files to the database; its id is said as soon as it is there.

    `look` is called every second or so while the files are being listed.
    """
    from worker.bootstrap import HandIn
    from worker.bootstrap import hand_in as write

    request = HandIn(
        batch=batch,
        profile=order.profile,
        external_key=order.external_key,
        category=order.category,
        inputs=order.inputs,
        embedded=embedded,
    )
    try:
        sources = order.selection.sources(database_file(settings.database_url), settings.roots)
        write(store, request, _looking(sources, look), on_batch=lambda known: say(f"batch {known}"))
    except SystemExit:
        say("interrupted while files were being handed in: the batch has only the first of them")
        if order.external_key:
            say("the same command again hands in the rest")
        else:
            say(f"drop it with: chatflow-ingest cancel {batch}")
        raise


def _looking(sources: Iterator[str], look: Callable[[], None]) -> Iterator[str]:
    looked = time.monotonic()
    for source in sources:
        yield source
        if time.monotonic() - looked >= LOOK_EVERY:
            look()
            looked = time.monotonic()


@dataclass(frozen=True, slots=True)
class Wait:
    """How `attend` waits: until `deadline` (monotonic seconds, None for ever)."""

    interruption: Interruption
    deadline: float | None = None

    @classmethod
    def of(cls, timeout: float | None, interruption: Interruption) -> "Wait":
        """Wait for `timeout` seconds from now."""
        return cls(interruption, None if timeout is None else time.monotonic() + timeout)

    def left(self) -> float | None:
        """Seconds until the deadline."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)


@dataclass(frozen=True, slots=True)
class Job:
    """A batch for this process, and what has to be done before it is worked on.

    Attributes:
        hand_in: writes the files, before the run begins; its argument shows progress.
        reopen: changes the batch once no other run can be at work on the database.
    """

    batch: BatchId
    profile: str
    hand_in: Callable[[Callable[[], None]], None] = lambda _: None
    reopen: Callable[[], None] = lambda: None


def new_job(order: Order, batch: BatchId, store: "Store", settings: "Settings") -> Job:
    """The job of handing in and attending to an order's batch."""

    def write(look: Callable[[], None]) -> None:
        hand_in(order, batch, store, settings, embedded=True, look=look)

    return Job(batch, order.profile, hand_in=write)


def attend(job: Job, store: "SqlStore", settings: "Settings", wait: Wait) -> BatchStatus:
    """Work on a batch in this process until it is finished or the wait is over.

    Raises:
        RunInProgress: another run works on this database.
        SystemExit: a signal came; what was in hand has been given back.
    """
    from worker.adapters.database import run_lock
    from worker.embedded import EmbeddedRun

    with progress() as report:
        _log(settings)

        def on_progress(status: BatchStatus) -> None:
            wait.interruption.check()
            report(status)

        with run_lock(settings.database_url):
            pass  # while another run is at work, nothing is handed in that would lie about
        job.hand_in(lambda: on_progress(store.status(job.batch)))
        wait.interruption.advice = how_to_resume(job.batch)
        with EmbeddedRun(settings, store, job.batch, job.profile) as run:
            try:
                job.reopen()
                return run.wait(on_progress, wait.left())
            except SystemExit:
                say("stopping")
                raise


def _log(settings: "Settings") -> None:
    """Log to stderr, where the progress stands too: only warnings, unless a level was asked for."""
    from worker.telemetry import configure_logging

    chosen = "log_level" in settings.model_fields_set
    configure_logging(settings.log_level if chosen else "WARNING", settings.log_format)


def attend_and_conclude(
    job: Job, store: "SqlStore", settings: "Settings", wait: Wait, *, as_json: bool
) -> int:
    """As `attend`, then say how it went; returns the exit code."""
    try:
        status = attend(job, store, settings, wait)
    except SystemExit:
        with suppress(IngestError):  # there may be no batch yet, or no database any more
            status = store.status(job.batch)
            if as_json:
                put_json(status_object(status))
            say(f"interrupted; {how_to_resume(job.batch)}")
        raise
    except StoreUnavailable:
        say(f"the database is away; when it is back, {how_to_resume(job.batch)}")
        raise
    return conclude(status, store, as_json=as_json)


def conclude(status: BatchStatus, store: "Store", *, as_json: bool) -> int:
    """Say how a batch went; 0 when every file succeeded, else 1."""
    if as_json:
        put_json(status_object(status))
    else:
        put(f"{status.batch_id} {status.state}: {counts_text(status) or 'no files'}")
        _name_unsuccessful(status, store)
    if status.state is BatchState.RUNNING:
        say(f"not finished; {how_to_resume(status.batch_id)}")
        return NOT_ALL
    return OK if status.counts.get(FileState.SUCCEEDED, 0) == status.total else NOT_ALL


def _name_unsuccessful(status: BatchStatus, store: "Store") -> None:
    states = [s for s in FileState if s.is_terminal and s is not FileState.SUCCEEDED]
    count = sum(status.counts.get(state, 0) for state in states)
    if not count:
        return
    for result in islice(store.results(status.batch_id, states), LISTED):
        reason = ": ".join(filter(None, (result.error_code, result.error_message)))
        say(f"  {result.state}  {shown(result.source)}  {shown(shortened(reason, 200))}")
    if count > LISTED:
        say(f"  and {count - LISTED} more: chatflow-ingest results {status.batch_id}")
