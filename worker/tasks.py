"""The Celery tasks: one per step, a few lines each.

A task carries ids and options only. A second delivery finds nothing left to claim and ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from celery import Celery, Task
from celery.exceptions import Reject

from worker.app import CeleryWaker, app, configure
from worker.bootstrap import HandIn, hand_in
from worker.client import batch_id_for
from worker.core.lifecycle import Lane
from worker.core.model import BatchId, Crew
from worker.core.schedule import parse_schedules
from worker.errors import StoreUnavailable, UsageError
from worker.flower_password import guard_flower, say_password
from worker.health import heartbeat_file
from worker.process import refuse, runtime, stopping
from worker.settings import Settings
from worker.telemetry import LogTelemetry


def configured_app() -> Celery:
    """The application as the environment configures it, for ``celery -A worker``."""
    password = guard_flower(sys.argv, os.environ)
    if password is not None:
        say_password(password)
    try:
        return configure(Settings.load())
    except UsageError as error:
        refuse(error)


@app.task(name="worker.ingest_batch", bind=True)
def ingest_batch(  # noqa: PLR0913, PLR0917 - the fields of the message
    self: Task[Any, Any],
    files: Sequence[str],
    category: str | None = None,
    profile: str = "default",
    external_key: str | None = None,
    inputs: dict[str, Any] | str | None = None,
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
        inputs=inputs if isinstance(inputs, str) else json.dumps(inputs) if inputs else None,
        notify=notify,
        part=(part, parts) if part is not None and parts is not None else None,
    )
    _hand_in_whenever(request, [files] if isinstance(files, str) else [*map(str, files)])
    CeleryWaker().wake(profile, Crew(profile), Lane.SUBMIT)
    return str(batch)


def _hand_in_whenever(request: HandIn, sources: Sequence[str]) -> None:
    """Register a batch; wait for the database, for the message is the only copy of the paths.

    Raises:
        Reject: the process stops; somebody else shall have the message.
    """
    while True:
        try:
            hand_in(runtime().store, request, sources)
        except StoreUnavailable as error:
            LogTelemetry().event("store_unavailable", reason=error.message)
            if stopping.wait(2):
                raise Reject(error, requeue=True) from error
        else:
            return


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
