"""Attending to a batch in this process until it is finished or the wait is over."""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.cli.concluding import conclude, how_to_resume
from worker.cli.exit_codes import OK
from worker.cli.interruption import Interruption, interruptible
from worker.cli.naming import find_batch
from worker.cli.orders import Order, hand_in, say_batch
from worker.cli.progress import progress
from worker.cli.terminal import as_said, put_json, quiet, say, speaks_json, verbosity
from worker.core.lifecycle import BatchState
from worker.core.model.batches import BatchStatus
from worker.core.model.ids import BatchId
from worker.core.report import detailed_object
from worker.errors import IngestError, StoreUnavailable

if TYPE_CHECKING:
    from worker.adapters.database import SqlStore
    from worker.ports.store import Store
    from worker.settings import Settings


def run(order: Order, timeout: float | None, *, as_json: bool) -> int:
    """Ingest an order here and wait for it; returns the exit code."""
    from worker.bootstrap import open_store
    from worker.connections import check_service
    from worker.settings import Settings

    with interruptible() as interruption:
        wait = Wait.of(timeout, interruption)
        settings = Settings.load()
        check_service(settings, order.profile)
        batch = order.new_batch()
        with closing(open_store(settings)) as store:
            job = new_job(order, batch, store, settings)
            return attend_and_conclude(job, store, settings, wait, as_json=as_json)


def resume(name: str, timeout: float | None, *, as_json: bool) -> int:
    """Go on with what an interrupted run left; returns the exit code."""
    from worker.bootstrap import open_existing
    from worker.connections import check_service
    from worker.settings import Settings

    with interruptible() as interruption:
        wait = Wait.of(timeout, interruption)
        settings = Settings.load()
        with closing(open_existing(settings)) as store:
            batch = find_batch(store, name)
            status = store.status(batch)
            if status.state is not BatchState.RUNNING:
                say(f"nothing left to do: the batch is {status.state}")
                if as_json:
                    put_json(detailed_object(status, store.details(batch)))
                return OK
            check_service(settings, status.profile)

            def seal() -> None:
                say_batch(batch)
                if not status.sealed:
                    say("its files were not all handed in: going on with those that were")
                    store.seal(batch)

            job = Job(batch, status.profile, reopen=seal)
            return attend_and_conclude(job, store, settings, wait, as_json=as_json)


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

    with progress(store.details) as report:
        log_quietly(settings)

        def on_progress(status: BatchStatus) -> None:
            wait.interruption.check()
            report(status)

        # Held before anything is handed in: a run that is refused leaves no batch behind.
        with run_lock(settings.database_url):
            job.hand_in(lambda: on_progress(store.status(job.batch)))
            wait.interruption.advice = as_said(how_to_resume(job.batch))
            with EmbeddedRun(settings, store, job.batch, job.profile) as run:
                try:
                    job.reopen()
                    return run.wait(on_progress, wait.left())
                except SystemExit:
                    say("stopping")
                    raise


def log_quietly(settings: "Settings") -> None:
    """Log to stderr, where the progress stands too: only warnings, unless more was asked for."""
    from worker.telemetry import configure_logging

    level = "WARNING"
    if verbosity():
        level = "INFO" if verbosity() == 1 else "DEBUG"
    elif "log_level" in settings.model_fields_set:
        level = settings.log_level
    elif quiet():
        level = "ERROR"
    # What is said here is text unless JSON is asked for; so are the lines between.
    configure_logging(level, "json" if speaks_json() else "text")


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
                put_json(detailed_object(status, store.details(status.batch_id)))
            say(f"interrupted; {how_to_resume(job.batch)}")
        raise
    except StoreUnavailable:
        say(f"the database is away; when it is back, {how_to_resume(job.batch)}")
        raise
    return conclude(status, store, as_json=as_json)
