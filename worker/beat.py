"""What Celery Beat sends: two ticks, that anybody may send and nobody has to remember.

The work and its due times are in the database, so a tick that is late, lost or sent by three Beats
at once changes nothing, and Beat needs no file of its own.
"""

from __future__ import annotations

from typing import Any

from celery.beat import Scheduler

TICKS: dict[str, dict[str, Any]] = {
    "tick": {"task": "worker.tick", "schedule": 5.0, "options": {"expires": 5.0}},
    "tick-schedules": {
        "task": "worker.tick_schedules",
        "schedule": 10.0,
        "options": {"expires": 10.0},
    },
}
"""For `beat_schedule`: seconds apart; a tick that waited until the next one expires."""


class TickScheduler(Scheduler):
    """Celery's plain scheduler, which keeps its entries in memory.

    The default one writes a file, and so fails on a read-only file system.
    """

    @property
    def info(self) -> str:
        """What Beat's banner says about its schedule."""
        return "    . db -> none, the schedule is in memory"
