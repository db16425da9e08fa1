"""Celery Beat's scheduler.

Beat only sends ticks, and all due times are in the database: a tick that is late, lost or sent by
three Beats at once changes nothing.
"""

from __future__ import annotations

from celery.beat import Scheduler


class TickScheduler(Scheduler):
    """Celery's plain scheduler, which keeps its entries in memory.

    The default one writes a file, and so fails on a read-only file system.
    """

    @property
    def info(self) -> str:
        """What Beat's banner says about its schedule."""
        return "    . db -> none, the schedule is in memory"
