"""The Celery tasks: one per step, a few lines each.

A task carries ids and options only. A second delivery finds nothing left to claim and ends.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject

import worker.remote  # noqa: F401 - so that a worker knows its commands
from worker.app import CeleryWaker, app, asked_for, configure
from worker.core.lifecycle import Lane
from worker.core.model.ids import Crew, fleet
from worker.core.schedule import parse_schedules
from worker.errors import StoreUnavailable, UsageError
from worker.flower.password import guard_flower, say_password
from worker.health import heartbeat_file
from worker.intake import Message, TakenIn, take_in
from worker.process import exit_usage, runtime, stopping
from worker.settings import Settings
from worker.telemetry import LogTelemetry


def configured_app() -> Celery:
    """The application as the environment configures it, for ``celery -A worker``."""
    password = guard_flower(sys.argv, os.environ)
    if password is not None:
        say_password(password)
    if "flower" in sys.argv[1:]:
        from worker.flower.pages import add_pages

        add_pages()
    try:
        return configure(Settings.load(), pool=asked_for(sys.argv, "-P", "--pool"))
    except UsageError as error:
        exit_usage(error)


@app.task(name="worker.ingest_batch", bind=True, typing=False)
def ingest_batch(self: Task[Any, Any], *args: Any, **kwargs: Any) -> str:
    """Hand in a batch; `worker.core.order.BatchOrder` says with what."""
    taken = _whenever(Message(args, kwargs, str(self.request.id)))
    if taken.profile is not None:
        runtime().telemetry.handed_in(taken.batch, _carried(self.request))
        CeleryWaker().wake(taken.profile, fleet(taken.profile), Lane.SUBMIT)
    return str(taken.batch)


def _carried(request: Any) -> dict[str, str]:
    """The trace that the sender was in, as instrumented Celery clients say it in the headers."""
    found = {name: getattr(request, name, None) for name in ("traceparent", "tracestate")}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _whenever(message: Message) -> TakenIn:
    """Take a message in; wait for the database, for the message is the only copy of the paths.

    Raises:
        Reject: the process stops; somebody else shall have the message.
    """
    while True:
        try:
            here = runtime()
            return take_in(message, here.settings, here.store, here.telemetry)
        except (StoreUnavailable, UsageError) as error:  # away, or being migrated or set up
            LogTelemetry().event("store_unavailable", reason=error.message)
            if stopping.wait(2):
                raise Reject(error, requeue=True) from error


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
    """Fire what is due of the schedules file, whose text Beat sends.

    Workers need a copy only of schedules that delete or move files.
    """
    runtime().keep_schedules(parse_schedules(schedules, file))


@app.task(name="worker.heartbeat")
def heartbeat(node: str, namespace: str | None = None) -> None:
    """Arrive at the worker that sent it: what broker, worker and task threads are alive for."""
    heartbeat_file(node, namespace).touch()
