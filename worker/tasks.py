"""The Celery tasks: one per step, a few lines each, and the runtime that they share in a process.

A task carries ids and options only. A second delivery finds nothing left to claim and ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Event, Lock
from types import FrameType
from typing import Any, NoReturn
from uuid import UUID

from celery import Celery, Task
from celery.exceptions import Reject
from celery.signals import (
    beat_init,
    celeryd_init,
    setup_logging,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from celery.utils.nodenames import worker_direct
from kombu.exceptions import OperationalError

from worker.app import CeleryWaker, app, configure
from worker.bootstrap import HandIn, hand_in, open_store
from worker.client import batch_id_for
from worker.core.lifecycle import Lane
from worker.core.model import BatchId, Crew
from worker.core.schedule import parse_schedules
from worker.errors import StoreUnavailable, UsageError
from worker.flower_password import guard_flower, say_password
from worker.health import HEARTBEAT_EVERY, heartbeat_file
from worker.runtime import Runtime
from worker.settings import Settings
from worker.telemetry import configure_logging, serve_metrics

_runtimes: dict[int, Runtime] = {}
_lent: set[int] = set()  # processes whose runtime belongs to somebody else
_lock = Lock()
_stopping = Event()


def configured_app() -> Celery:
    """The application as the environment configures it, for ``celery -A worker``."""
    password = guard_flower(sys.argv, os.environ)
    if password is not None:
        say_password(password)
    try:
        return configure(Settings.load())
    except UsageError as error:
        _refuse(error)


def runtime() -> Runtime:
    """This process's runtime, made on first use: after a fork, never before."""
    with _lock:
        if os.getpid() not in _runtimes:
            settings = Settings.load()
            _runtimes[os.getpid()] = Runtime(settings, open_store(settings), CeleryWaker())
        return _runtimes[os.getpid()]


def install(given: Runtime | None) -> None:
    """Make the tasks of this process use a runtime made elsewhere; None lets go of it."""
    with _lock:
        _stopping.clear()
        if given is None:
            _runtimes.pop(os.getpid(), None)
            _lent.discard(os.getpid())
        else:
            _runtimes[os.getpid()] = given
            _lent.add(os.getpid())


# --- tasks ---------------------------------------------------------------------------------------


@app.task(name="worker.ingest_batch", bind=True)
def ingest_batch(  # noqa: PLR0913, PLR0917 - the fields of the message
    self: Task[Any, Any],
    files: Sequence[str],
    category: str | None = None,
    profile: str = "default",
    external_key: str | None = None,
    inputs: dict[str, Any] | None = None,
    notify: dict[str, str] | None = None,
    batch_id: str | None = None,
    part: int | None = None,
    parts: int | None = None,
) -> str:
    """Hand in a batch; the last three arguments are those of a batch in several messages."""
    if external_key:
        batch = batch_id_for(profile, external_key)
    else:
        batch = UUID(batch_id or self.request.id)
    request = HandIn(
        batch=BatchId(batch),
        profile=profile,
        external_key=external_key,
        category=category,
        inputs=json.dumps(inputs) if inputs else None,
        notify=notify,
        part=(part, parts) if part is not None and parts is not None else None,
    )
    sources = [files] if isinstance(files, str) else files
    while True:
        try:
            hand_in(runtime().store, request, sources)
        except StoreUnavailable as error:
            # The message is the only copy of these paths: keep it until the database has them.
            runtime().telemetry.event("store_unavailable", reason=error.message)
            if _stopping.wait(2):
                raise Reject(error, requeue=True) from error
        else:
            CeleryWaker().wake(profile, Crew(profile), Lane.SUBMIT)
            return str(batch)


@app.task(name="worker.submit")
def submit(profile: str, crew: str) -> None:
    """Work a submit shift."""
    runtime().shift(Lane.SUBMIT, profile, Crew(crew))


@app.task(name="worker.poll")
def poll(profile: str, crew: str) -> None:
    """Work a poll shift."""
    runtime().shift(Lane.POLL, profile, Crew(crew))


@app.task(name="worker.tick")
def tick() -> None:
    """Sweep once, for Beat."""
    runtime().sweep()


@app.task(name="worker.notify")
def notify() -> None:
    """Deliver the notifications that are due."""
    runtime().deliver()


@app.task(name="worker.tick_schedules")
def tick_schedules(schedules: str, file: str) -> None:
    """Fire what is due of the schedules file, whose text Beat sends: workers need no copy."""
    runtime().keep_schedules(parse_schedules(schedules, file))


@app.task(name="worker.heartbeat")
def heartbeat(node: str) -> None:
    """Arrive at the worker that sent it: what broker, worker and task threads are alive for."""
    heartbeat_file(node).touch()


class Heartbeat:
    """Sends a worker a task of its own, now and then."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._next = 0.0

    def __call__(self) -> None:
        """Send one if it is time; see `worker.health` for who looks at what comes of it."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + HEARTBEAT_EVERY
        with suppress(OperationalError, OSError):
            heartbeat.apply_async(
                (self._node,),
                queue=worker_direct(self._node),
                expires=HEARTBEAT_EVERY,
                retry=False,
            )


# --- the life of a worker process ----------------------------------------------------------------


@setup_logging.connect(weak=False)
def _log_our_way(**_: object) -> None:
    if os.getpid() in _lent:
        return
    settings = Settings.load()
    configure_logging(settings.log_level, settings.log_format)


@beat_init.connect(weak=False)
def _check_beat_first(**_: object) -> None:
    try:
        settings = Settings.load()
        settings.require_broker()
        if settings.schedules:
            parse_schedules(settings.schedules_text(), settings.schedules)
    except UsageError as error:
        _refuse(error)


@celeryd_init.connect(weak=False)
def _check_first(**_: object) -> None:
    """Stop with a clear word before anything is started that can't work."""
    if os.getpid() in _lent:
        return
    try:
        settings = Settings.load()
        settings.require_broker()
        open_store(settings).close()
    except UsageError as error:
        _refuse(error)


@worker_ready.connect(weak=False)
def _begin(sender: Any, **_: object) -> None:
    """Work that is due needs no message to be found."""
    ready = runtime()
    if os.getpid() in _lent:
        ready.start_ticking()
        return
    ready.start_ticking(Heartbeat(sender.hostname))
    if ready.settings.metrics_port is not None:
        serve_metrics(ready.settings.metrics_port, ready.store.overview)
    ready.telemetry.event("worker_ready")


@worker_shutting_down.connect(weak=False)
def _drain(**_: object) -> None:
    _stopping.set()
    given = _runtimes.get(os.getpid())
    if given is not None:
        given.telemetry.event("worker_draining")
        given.drain()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave_now)


def _leave_now(number: int, _: FrameType | None) -> None:
    """A second signal: leases and the ledger say what was in hand."""
    os._exit(128 + number)


@worker_shutdown.connect(weak=False)
@worker_process_shutdown.connect(weak=False)
def _close(**_: object) -> None:
    with _lock:
        if os.getpid() in _lent:
            return
        given = _runtimes.pop(os.getpid(), None)
    if given is not None:
        given.close()
        given.store.close()


def _refuse(error: UsageError) -> NoReturn:
    sys.stderr.write(f"{error.message}\n")
    raise SystemExit(2)
