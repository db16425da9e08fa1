"""Embedded mode: the same tasks in this process, on an in-memory broker, for one batch.

The database is the truth, so nothing is lost with the broker's memory: what is due is claimed
again by whoever comes next.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from math import inf
from threading import Event, Thread
from types import TracebackType
from typing import Self

from celery.exceptions import SecurityWarning
from celery.worker import WorkController, state

from worker.adapters.database import SqlStore
from worker.app import CeleryWaker, app, configure
from worker.core.lifecycle import BatchState, Lane
from worker.core.model.batches import BatchStatus
from worker.core.model.ids import BatchId, run_crew
from worker.errors import WorkerEnded
from worker.process import install
from worker.runtime import Hours, Runtime
from worker.settings import Settings
from worker.settings.tracing import trace_exporters
from worker.telemetry import telling

HOURS = Hours(grace=10.0, tick=0.25)
"""An interrupted run has to be gone within 15 seconds, so its grace is shorter than a fleet's."""

LOOK_EVERY = 0.5
LOOK_SHARE = 10
"""Seconds between two looks at how far the run is, and how many times longer than a look took:
one at a large batch takes long, and must leave the work most of the time."""


class EmbeddedRun:
    """One batch's embedded worker, as a context manager.

    The caller holds the database's run lock. Entering makes this run the batch's crew and frees
    what a killed predecessor had in hand; leaving drains and stops the worker within some seconds.
    """

    def __init__(self, settings: Settings, store: SqlStore, batch: BatchId, profile: str) -> None:
        self._settings = settings
        self._store = store
        self._batch = batch
        self._profile = profile
        self._crew = run_crew(batch)
        self._finished = Event()
        self._thread = Thread()
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            configure(self._settings, embedded=True)
            self._store.resume(self._profile)  # a run finds out for itself whether it is let in
            self._store.hand_over(self._batch, self._crew)
            runtime = Runtime(
                self._settings,
                self._store,
                CeleryWaker(),
                telemetry=telling(trace_exporters()),
                crew=self._crew,
                hours=HOURS,
                on_finished=self._finished.set,
            )
            exits.callback(runtime.close)
            install(runtime)
            exits.callback(install, None)
            worker, self._thread = self._start()
            exits.callback(self._stop, worker)
            exits.callback(runtime.drain)
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exits.__exit__(kind, error, trace)

    def wait(
        self, on_progress: Callable[[BatchStatus], None], timeout: float | None = None
    ) -> BatchStatus:
        """Wait until the batch is over, or for `timeout` seconds; the status tells which.

        Raises:
            WorkerEnded: nobody works on the batch any more.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            began = time.monotonic()
            status = self._store.status(self._batch)
            took = time.monotonic() - began
            on_progress(status)
            if status.state is not BatchState.RUNNING:
                return status
            if not self._thread.is_alive():
                raise WorkerEnded("the worker inside this process ended by itself; resume the run")
            left = inf if end is None else end - time.monotonic()
            if left <= 0:
                return status
            self._finished.wait(min(left, max(LOOK_EVERY, LOOK_SHARE * took)))
            self._finished.clear()

    def _start(self) -> tuple[WorkController, Thread]:
        state.should_stop = state.should_terminate = None  # Celery keeps these for the process
        with warnings.catch_warnings():
            # Celery warns root of code in messages; here all messages are our own.
            warnings.simplefilter("ignore", SecurityWarning)
            worker = app.Worker(
                pool="threads",
                quiet=True,
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
            )
        thread = Thread(target=worker.start, name="embedded-worker", daemon=True)
        thread.start()
        for lane in (Lane.SUBMIT, Lane.POLL):
            CeleryWaker().wake(self._profile, self._crew, lane)
        return worker, thread

    def _stop(self, worker: WorkController) -> None:
        worker.stop()  # waits for the tasks
        # The consumer's loop may take two seconds more to notice that its connection is closed.
        self._thread.join(timeout=0.1)
