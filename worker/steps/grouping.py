"""Group commit: what many tasks want written at about the same moment becomes one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Generic, ParamSpec, TypeVar

import anyio
from anyio import to_thread

from worker.errors import StoreUnavailable
from worker.steps.loop import Future, future

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 2.0

Args = ParamSpec("Args")
Result = TypeVar("Result")


async def persistently(
    function: Callable[Args, Result], *args: Args.args, **_: Args.kwargs
) -> Result:
    """Call the store from a thread, again and again while the database is away.

    What the service has said must not be lost for it, so the words wait here until they can be
    written.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await to_thread.run_sync(function, *args)
        except StoreUnavailable:
            await anyio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


class _Entry(Generic[Item]):
    """One item that waits for its transaction, and the future of who waits for it."""

    __slots__ = ("item", "written")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.written: Future[bool] = future()

    def tell(self, *, written: bool) -> None:
        if not self.written.done():  # cancelled: nobody waits any more
            self.written.set_result(written)

    def fail(self, error: Exception) -> None:
        if not self.written.done():
            self.written.set_exception(error)


class GroupCommit(Generic[Item, Key]):
    """Writes items in groups and tells each caller whether its own was written.

    While the database is away the items wait here and are written when it is back. An item
    that breaks its group's transaction is written alone, so that it harms only itself.

    Args:
        write: writes a group in one transaction and returns the keys of what it wrote.
        key: an item's key.
        gather: seconds to wait for more items before writing; adds that much delay at most.
        limit: items in one transaction at most.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Collection[Key]],
        key: Callable[[Item], Key],
        *,
        gather: float,
        limit: int = 200,
    ) -> None:
        self._write = write
        self._key = key
        self._gather = gather
        self._limit = limit
        self._waiting: list[_Entry[Item]] = []
        self._writing = 0
        self._arrived = anyio.Event()

    @property
    def waiting(self) -> int:
        """Items put and not yet written."""
        return len(self._waiting) + self._writing

    async def put(self, item: Item) -> bool:
        """Have one item written; returns when its transaction is committed.

        Returns whether it was written, or left out because its lease was lost.
        """
        entry = _Entry(item)
        self._waiting.append(entry)
        self._arrived.set()
        return await entry.written

    async def run(self) -> None:
        """Write groups until cancelled: one task per process does this."""
        while True:
            await self._arrived.wait()
            if len(self._waiting) < self._limit:
                await anyio.sleep(self._gather)
            group, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            if not self._waiting:
                self._arrived = anyio.Event()
            self._writing = len(group)
            await self._settle(group)
            self._writing = 0

    async def _settle(self, group: list[_Entry[Item]]) -> None:
        try:
            await self._commit(group)
        except Exception as error:  # noqa: BLE001 - whatever breaks a group is handed to its owner
            if len(group) == 1:
                group[0].fail(error)
                return
            for entry in group:
                await self._settle([entry])

    async def _commit(self, group: list[_Entry[Item]]) -> None:
        written = await persistently(self._write, [entry.item for entry in group])
        for entry in group:
            entry.tell(written=self._key(entry.item) in written)
