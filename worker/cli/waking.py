"""Waking the workers: a courtesy that saves them a moment, since the database holds the work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

from worker.cli.concluding import how_to_resume
from worker.cli.running import log_quietly
from worker.cli.terminal import say
from worker.core.lifecycle import Lane
from worker.core.model.ids import BatchId, fleet

if TYPE_CHECKING:
    from worker.adapters.database import SqlStore
    from worker.app import CeleryWaker
    from worker.core.schedule import Schedule
    from worker.ports.queue import Attendance
    from worker.settings import Settings

PATIENCE = 3.0
"""Seconds that a broker is given: what is not woken is found by the next sweep."""


def wake(settings: Settings, store: Attendance, profile: str, *lanes: Lane) -> None:
    """Wake the fleet for a profile's work of these kinds, or say that nobody hears."""

    def send(waker: CeleryWaker) -> None:
        for lane in lanes:
            waker.wake(profile, fleet(profile), lane)

    if not _send(settings, send):
        say("the broker is away, so nobody could be woken; workers find the files by themselves")
    elif not any(one.crew is None for one in store.attendants()):
        say("no worker is at work: start one with `celery -A worker worker`")


def wake_notify(settings: Settings) -> None:
    """Wake the fleet for notifications that wait, or say that nobody hears; never raises."""
    if not _send(settings, lambda waker: waker.wake_notify()):
        say("the broker is away, so nobody could be woken; workers find them by themselves")


def _send(settings: Settings, send: Callable[[CeleryWaker], None]) -> bool:
    """Whether the broker took it within `PATIENCE`."""
    from worker.app import CeleryWaker, configure

    app = configure(settings)
    reached = Event()

    def try_it() -> None:
        # Every transport has exceptions of its own; all of them mean that nobody was woken.
        with suppress(Exception):
            with app.connection_for_write(connect_timeout=PATIENCE) as connection:
                connection.ensure_connection(max_retries=1, timeout=int(PATIENCE))
            send(CeleryWaker())
            reached.set()

    # In a thread that is left behind: name resolution and handshakes have timeouts of their own.
    thread = Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return reached.is_set()


def firing(settings: Settings, store: SqlStore, schedule: Schedule) -> tuple[str | None, int]:
    """Fire a schedule in this process and wake the fleet for what it brought.

    Returns:
        The batch, None when nothing was new, and how many files it got.
    """
    log_quietly(settings)
    handed = _fired(settings, store, schedule)
    if not handed:
        return None, 0
    batch, files = handed[0]
    if settings.is_embedded:
        say(f"no broker is configured; {how_to_resume(batch)}")
    else:
        wake(settings, store, schedule.profile, Lane.SUBMIT)
    return str(batch), files


def _fired(settings: Settings, store: SqlStore, schedule: Schedule) -> list[tuple[BatchId, int]]:
    """What the schedule's firing handed in: one batch, or none."""
    import anyio

    from worker.firing import schedule_deps
    from worker.steps.schedule import fire_now
    from worker.steps.stopping import Stopping
    from worker.telemetry import LogTelemetry

    handed: list[tuple[BatchId, int]] = []

    def remember(batch: BatchId, _: str, files: int) -> None:
        handed.append((batch, files))

    async def fire() -> None:
        deps = schedule_deps(settings, store, LogTelemetry(), Stopping(), remember)
        await fire_now(deps, schedule)

    anyio.run(fire)
    return handed
