"""Waking the workers: a courtesy that saves them a moment, since the database holds the work."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING

from worker.core.lifecycle import Lane
from worker.core.model import fleet

if TYPE_CHECKING:
    from worker.app import CeleryWaker
    from worker.settings import Settings

PATIENCE = 3.0
"""Seconds that a broker is given: what is not woken is found by the next sweep."""


def wake(settings: Settings, profile: str, *lanes: Lane) -> None:
    """Wake the fleet for a profile's work of these kinds; never raises."""

    def send(waker: CeleryWaker) -> None:
        for lane in lanes:
            waker.wake(profile, fleet(profile), lane)

    _send(settings, send)


def wake_notify(settings: Settings) -> None:
    """Wake the fleet for notifications that wait; never raises."""
    _send(settings, lambda waker: waker.wake_notify())


def _send(settings: Settings, send: Callable[[CeleryWaker], None]) -> None:
    from worker.app import CeleryWaker, configure

    configure(settings)
    # In a thread that is left behind: name resolution and handshakes have timeouts of their own.
    thread = Thread(target=send, args=(CeleryWaker(),), daemon=True)
    thread.start()
    thread.join(PATIENCE)
