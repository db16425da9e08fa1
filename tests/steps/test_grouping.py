"""Group commit: nothing put is lost, and each caller hears of its own item."""

from __future__ import annotations

import anyio
import pytest

from worker.errors import StoreUnavailable
from worker.steps.grouping import GroupCommit

pytestmark = pytest.mark.anyio


class Table:
    """Takes what is written, except what it was told to refuse."""

    def __init__(self, *, away=0, left_out=(), poison=()):
        self.groups = []
        self._away = away
        self._left_out = set(left_out)
        self._poison = set(poison)

    def write(self, items):
        if self._away:
            self._away -= 1
            raise StoreUnavailable("restarting")
        if self._poison & set(items):
            raise ValueError("this row breaks it")
        self.groups.append(list(items))
        return set(items) - self._left_out


async def put_all(table, items, limit=100):
    group = GroupCommit(table.write, lambda item: item, gather=0.0, limit=limit)
    outcomes = {}

    async def put(item):
        try:
            outcomes[item] = await group.put(item)
        except ValueError as error:
            outcomes[item] = error

    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as puts:
            tasks.start_soon(group.run)
            for item in items:
                puts.start_soon(put, item)
        tasks.cancel_scope.cancel()
    return outcomes


async def test_items_of_one_moment_share_a_transaction():
    table = Table()
    assert await put_all(table, range(10)) == dict.fromkeys(range(10), True)
    assert len(table.groups) < 10


async def test_a_group_is_never_larger_than_its_limit():
    table = Table()
    await put_all(table, range(25), limit=10)
    assert sorted(item for group in table.groups for item in group) == list(range(25))
    assert max(map(len, table.groups)) <= 10


async def test_what_was_left_out_is_told_to_its_owner():
    outcomes = await put_all(Table(left_out=[3]), range(5))
    assert [item for item, written in outcomes.items() if not written] == [3]


async def test_a_database_that_is_away_delays_and_loses_nothing():
    table = Table(away=2)
    assert all((await put_all(table, range(5))).values())


async def test_an_item_that_breaks_its_transaction_harms_only_itself():
    table = Table(poison=[2])
    outcomes = await put_all(table, range(4))
    assert isinstance(outcomes.pop(2), ValueError)
    assert outcomes == {0: True, 1: True, 3: True}


async def test_an_owner_that_does_not_wait_any_more_harms_nobody():
    table = Table()
    group = GroupCommit(table.write, lambda item: item, gather=0.0)
    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as gone:
            gone.start_soon(group.put, "gone")
            await anyio.wait_all_tasks_blocked()
            gone.cancel_scope.cancel()
        tasks.start_soon(group.run)
        assert await group.put("here")
        tasks.cancel_scope.cancel()
    assert table.groups == [["gone", "here"]]
