"""The life of a worker process: its runtime, its first checks, its drain and its end."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from threading import Event, Lock
from types import FrameType
from typing import Any, NoReturn

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

from worker.app import CeleryWaker, app
from worker.bootstrap import open_store
from worker.core.schedule import parse_schedules
from worker.errors import StoreUnavailable, UsageError
from worker.health import HEARTBEAT_EVERY
from worker.runtime import Runtime
from worker.settings import Settings
from worker.telemetry import LogTelemetry, configure_logging, serve_metrics

STORE_AWAY_PAUSE = 2.0

stopping = Event()
"""Set when this process was told to stop."""

_runtimes: dict[int, Runtime] = {}
_lent: set[int] = set()  # processes whose runtime belongs to somebody else
_lock = Lock()


def runtime() -> Runtime:
    """This process's runtime, made on first use: after a fork, never before.

    Raises:
        StoreUnavailable: the database can't be reached.
    """
    with _lock:
        if os.getpid() not in _runtimes:
            settings = Settings.load()
            _runtimes[os.getpid()] = Runtime(settings, open_store(settings), CeleryWaker())
        return _runtimes[os.getpid()]


def install(given: Runtime | None) -> None:
    """Make the tasks of this process use a runtime made elsewhere; None lets go of it."""
    with _lock:
        stopping.clear()
        if given is None:
            _runtimes.pop(os.getpid(), None)
            _lent.discard(os.getpid())
        else:
            _runtimes[os.getpid()] = given
            _lent.add(os.getpid())


def refuse(error: UsageError) -> NoReturn:
    """Say what is wrong and leave: nothing was started."""
    sys.stderr.write(f"{error.message}\n")
    raise SystemExit(2)


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
            app.send_task(
                "worker.heartbeat",
                (self._node,),
                queue=worker_direct(self._node),  # type: ignore[arg-type]
                expires=HEARTBEAT_EVERY,
                retry=False,
            )


# --- signals of Celery ---------------------------------------------------------------------------


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
        refuse(error)


@celeryd_init.connect(weak=False)
def _check_first(**_: object) -> None:
    """Stop with a clear word before anything is started that can't work."""
    if os.getpid() in _lent:
        return
    try:
        settings = Settings.load()
        settings.require_broker()
        _await_store(settings)
    except UsageError as error:
        refuse(error)


def _await_store(settings: Settings) -> None:
    """Wait for the database as Celery waits for the broker: a restart of both takes its time."""
    while True:
        try:
            open_store(settings).close()
        except StoreUnavailable as error:
            LogTelemetry().event("store_unavailable", reason=error.message)
            time.sleep(STORE_AWAY_PAUSE)
        else:
            return


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
    stopping.set()
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
