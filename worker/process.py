"""The life of a worker process: its runtime, its first checks, its drain and its end."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event, Lock, Thread
from types import FrameType
from typing import Any, NoReturn

from celery.signals import (
    beat_init,
    celeryd_after_setup,
    celeryd_init,
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from worker.adapters.broker.names import BrokerNames
from worker.app import CeleryWaker, app, asked_for, broker_errors
from worker.bootstrap import open_store
from worker.core.schedule import parse_schedules
from worker.errors import ConfigurationError, StoreUnavailable, UsageError
from worker.health import HEARTBEAT_EVERY
from worker.runtime import Runtime
from worker.settings import Settings
from worker.settings.tracing import trace_exporters
from worker.steps.lasting import report
from worker.telemetry import LogTelemetry, configure_logging, serve_metrics, telling

STORE_AWAY_PAUSE = 2.0

END_WITHIN = 29.0
"""Seconds after which a process that was told to stop ends, whatever holds it up. What is in hand
has been given back by then; it is Celery that may wait for a lost broker without an end."""

stopping = Event()
"""Set when this process was told to stop."""

_runtimes: dict[int, Runtime] = {}
_lent: set[int] = set()  # processes whose runtime belongs to somebody else
_lock = Lock()
_orders: tuple[int, int] | None = None  # the pipe at whose end the children of a pool listen
_worker_pid = 0


def runtime() -> Runtime:
    """This process's runtime, made on first use: after a fork, never before.

    Raises:
        StoreUnavailable: the database can't be reached.
    """
    with _lock:
        if os.getpid() not in _runtimes:
            settings = Settings.load()
            _runtimes[os.getpid()] = Runtime(
                settings,
                open_store(settings),
                CeleryWaker(),
                telemetry=telling(trace_exporters()),
            )
            if stopping.is_set():  # told so before there was a runtime that could have heard it
                _runtimes[os.getpid()].drain()
        return _runtimes[os.getpid()]


def holder() -> str | None:
    """The name under which this process attends to its database; None until it does."""
    given = _runtimes.get(os.getpid())
    return None if given is None else given.holder


def _lock_afresh() -> None:
    """In a forked child: whoever held the lock was not forked along, and never lets go of it."""
    global _lock  # noqa: PLW0603 - the process's own
    _lock = Lock()


os.register_at_fork(after_in_child=_lock_afresh)


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


def exit_usage(error: UsageError) -> NoReturn:
    """Say what is wrong and leave: nothing was started."""
    sys.stderr.write(f"{error.message}\n")
    raise SystemExit(2)


class RoundTrips:
    """Sends a worker a task of its own, now and then."""

    def __init__(self, node: str, namespace: str | None) -> None:
        self._names = node, namespace
        self._queue = BrokerNames(namespace or "").to_itself(node)
        self._next = 0.0

    def __call__(self) -> None:
        """Send one if it is time; see `worker.health` for who looks at what comes of it."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + HEARTBEAT_EVERY
        with suppress(*broker_errors()):
            app.send_task(
                "worker.heartbeat",
                self._names,
                queue=self._queue,  # type: ignore[arg-type]  # celery's types know names only
                expires=HEARTBEAT_EVERY,
                retry=False,
            )


# --- signals of Celery ---------------------------------------------------------------------------


@setup_logging.connect(weak=False)
def _log_our_way(loglevel: int | None = None, logfile: str | None = None, **_: object) -> None:
    """To stderr or `--logfile`; `--loglevel` on the command line comes before the variable."""
    if os.getpid() in _lent:
        return
    settings = Settings.load()
    level: int | str = settings.log_level
    if loglevel is not None and asked_for(sys.argv, "-l", "--loglevel"):
        level = loglevel
    configure_logging(level, settings.log_format, logfile)


@beat_init.connect(weak=False)
def _check_beat_first(**_: object) -> None:
    try:
        settings = Settings.load()
        settings.require_broker()
        if settings.schedules:
            parse_schedules(settings.schedules_text(), settings.schedules)
    except UsageError as error:
        exit_usage(error)


@celeryd_init.connect(weak=False)
def _check_first(**_: object) -> None:
    """Stop with a clear word before anything is started that can't work."""
    global _orders, _worker_pid
    if os.getpid() in _lent:
        return
    _orders, _worker_pid = os.pipe(), os.getpid()
    try:
        settings = Settings.load()
        _log_our_way()  # Celery warns, and we may have to wait, before it asks for it
        settings.require_broker()
        _check_metrics_port(settings)
        _await_store(settings)
    except UsageError as error:
        exit_usage(error)
    except Exception:  # noqa: BLE001 - Celery would say it and start all the same
        traceback.print_exc()
        raise SystemExit(1) from None


@celeryd_after_setup.connect(weak=False)
def _read_own_queue(sender: str, instance: Any, **_: object) -> None:
    """Whatever queues `-Q` names, what a worker sends itself has to come back."""
    if os.getpid() not in _lent:
        names = BrokerNames(Settings.load().namespace or "")
        instance.app.amqp.queues.select_add(names.to_itself(sender))


def _check_metrics_port(settings: Settings) -> None:
    if settings.metrics_port is None:
        return
    where = (settings.metrics_address, settings.metrics_port)
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    try:
        socket.create_server(where, family=family).close()
    except OSError as error:
        words = f"INGEST_METRICS_PORT: can't listen on {where[0]} port {where[1]}: {error.strerror}"
        raise ConfigurationError(words) from error


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
    if os.getpid() in _lent:
        runtime().start_ticking()
        return
    # In a thread, for the database may be away again: Celery goes on, and so does the trying.
    Thread(target=_begin_to_work, args=(sender.hostname,), name="begin", daemon=True).start()


def _begin_to_work(node: str) -> None:
    _insist("begin", partial(_start_ticking, node))
    _insist("metrics", _show_metrics)


def _insist(what: str, work: Callable[[], None]) -> None:
    """Do it until it goes well: a worker that is there and does nothing is worse than none."""
    while not stopping.is_set():
        try:
            work()
        except Exception as error:  # noqa: BLE001 - said, and tried again
            report(what, error, LogTelemetry())
            stopping.wait(STORE_AWAY_PAUSE)
        else:
            return


def _start_ticking(node: str) -> None:
    ready = runtime()
    ready.start_ticking(RoundTrips(node, ready.settings.namespace))
    ready.telemetry.event("worker_ready")


def _show_metrics() -> None:
    ready = runtime()
    if ready.settings.metrics_port is not None:
        where = (ready.settings.metrics_address, ready.settings.metrics_port)
        serve_metrics(where, ready.store.overview)


@worker_shutting_down.connect(weak=False)
def _drain(**_: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave_now)
    Thread(target=_end_at_last, name="last-resort", daemon=True).start()
    if _orders is not None:
        os.close(_orders[1])
    _drain_here()


def _drain_here() -> None:
    stopping.set()
    given = _runtimes.get(os.getpid())
    if given is not None:
        given.drain()
        given.telemetry.event("worker_draining")


def _end_at_last() -> None:
    time.sleep(END_WITHIN)
    LogTelemetry().event("worker_stuck", after=END_WITHIN)
    faulthandler.dump_traceback(file=sys.stderr)  # which thread waits, and where
    os._exit(1)


@worker_process_init.connect(weak=False)
def _listen(**_: object) -> None:
    """In a child of a pool: hear when the worker is told to stop, or is gone.

    Celery tells its children only once their tasks are over.
    """
    if _orders is None or os.getpid() == _worker_pid:
        return
    heard, said = _orders
    os.close(said)

    def await_the_end() -> None:
        os.read(heard, 1)  # nothing is ever written: it returns when the other end is closed
        _drain_here()

    Thread(target=await_the_end, name="orders", daemon=True).start()


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
