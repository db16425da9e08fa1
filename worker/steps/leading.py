"""The lead over schedules: one process at a time fires them and takes files away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio import CancelScope, to_thread

from worker.ports.store import Schedules
from worker.ports.telemetry import Telemetry
from worker.steps.lasting import keep_doing

LEASE = 60.0
"""Seconds that the lead holds: a dead leader's work is done by another after that."""

RENEW_EVERY = 15.0


@asynccontextmanager
async def leading(store: Schedules, holder: str, telemetry: Telemetry) -> AsyncIterator[bool]:
    """Take the lead, renew it while the block runs, and give it up afterwards.

    Gives whether it was to be had; in a block that does not lead there is nothing to do.
    """
    lead = partial(to_thread.run_sync, store.lead, holder, LEASE)
    if not await lead():
        yield False
        return

    async def renew() -> None:
        await anyio.sleep(RENEW_EVERY)
        await keep_doing("lead", lead, every=RENEW_EVERY, telemetry=telemetry)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(renew)
            yield True
            tasks.cancel_scope.cancel()
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(store.lead, holder, 0.0)
