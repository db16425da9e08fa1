"""Work side by side inside a scope that is cancelled."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from worker.steps.loop import side_by_side

pytestmark = pytest.mark.anyio


async def test_what_ends_slowly_is_waited_for_in_peace():
    """A cancelled scope cancels its tasks again at each turn of the loop, until they have ended."""
    may_end, ended, host = anyio.Event(), [], None

    async def last_word():
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await may_end.wait()
            ended.append(True)

    async def work():
        nonlocal host
        host = asyncio.current_task()
        await side_by_side([last_word(), last_word()])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for _ in range(50):
                await asyncio.sleep(0)
            assert (host.cancelling(), ended) == (1, [])
            may_end.set()
    assert ended == [True, True]


async def test_what_breaks_is_told_once_all_have_ended():
    ended = []

    async def breaks():
        raise ValueError("broken")

    async def goes_well():
        await anyio.wait_all_tasks_blocked()
        ended.append(True)

    with pytest.raises(ValueError, match="broken"):
        await side_by_side([breaks(), goes_well()])
    assert ended == [True]


async def test_nothing_to_do_is_done_at_once():
    await side_by_side([])
