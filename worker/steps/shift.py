"""A shift: claim while there is room, work what was claimed, renew the leases, hand back the rest.

Submitting and polling are the same loop around different work. A shift ends when nothing is due
soon, when its time slice is over (so that it is seen to come and go, and others get their turn),
or when the process is told to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
from anyio import to_thread

from worker.core.model import Claim, ClaimedFile, FileId, LeaseToken
from worker.core.rules import LEASE, RENEW_EVERY
from worker.errors import StoreUnavailable
from worker.ports import Queue, Telemetry
from worker.steps.loop import clock
from worker.steps.stopping import Stopping


class Hand:
    """The files that are in hand: claimed, and neither recorded nor handed back."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._files: dict[FileId, LeaseToken] = {}
        self._changed = anyio.Event()

    def __len__(self) -> int:
        return len(self._files)

    def take(self, claim: Claim) -> None:
        """The claim's files are in hand from now on."""
        self._files.update({file.id: file.token for file in claim.files})

    def drop(self, file: ClaimedFile) -> None:
        """The file was recorded, or is somebody else's."""
        self._files.pop(file.id, None)
        self._changed.set()

    async def work(self, file: ClaimedFile, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Work one file; whatever goes wrong with it is no other file's misfortune.

        A file that breaks our code is let go of without a word: its lease runs out, as if it had
        killed its worker, and after a few such deaths it is parked as poison.
        """
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - as said above
            self._telemetry.event("step_failed", file=str(file.id), reason=repr(error)[:500])
        self.drop(file)

    def tokens(self) -> set[LeaseToken]:
        """The leases to renew."""
        return set(self._files.values())

    def items(self) -> list[tuple[FileId, LeaseToken]]:
        """What to hand back."""
        return list(self._files.items())

    async def change(self) -> None:
        """Wait until a file leaves the hand."""
        self._changed = anyio.Event()
        await self._changed.wait()


@dataclass(frozen=True, slots=True)
class Pace:
    """How a shift goes about it; times in seconds.

    Attributes:
        room: files in hand at most.
        claim: files in one claim at most.
        least: no claim while there is room for fewer.
        pause: between two claims, so that trickling work is claimed in groups.
        linger: how long to wait for work that is not due yet, instead of ending.
        slice: how long to go on claiming.
        grace: how long what is in hand may take to end once the process is told to stop.
    """

    room: int
    claim: int
    least: int = 1
    pause: float = 0.1
    linger: float = 2.0
    slice: float = 20.0
    grace: float = 25.0


class Shift:
    """One shift's loop.

    Args:
        queue: where leases are renewed and files handed back.
        claim: takes up to so many files.
        work: works one claim to its end and drops each file from the hand.
        stop: the signal to stop claiming.
        pace: how to go about it.
        held: for how many seconds this process holds its calls; nothing is claimed meanwhile,
            since what is claimed would be handed back at once, and claimed again.
    """

    def __init__(
        self,
        queue: Queue,
        claim: Callable[[int], Claim],
        work: Callable[[Claim], Coroutine[Any, Any, None]],
        hand: Hand,
        stop: Stopping,
        pace: Pace,
        held: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._queue = queue
        self._claim = claim
        self._work = work
        self._hand = hand
        self._stop = stop
        self._pace = pace
        self._held = held

    async def run(self) -> float | None:
        """Work until the shift is over.

        Returns the seconds until the next file is due, None when there is none.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._renew)
            async with anyio.create_task_group() as workers:
                wait = await self._claim_on(workers)
                await self._finish(workers)
            await self._hand_back()
            tasks.cancel_scope.cancel()
        return wait

    async def _claim_on(self, workers: anyio.abc.TaskGroup) -> float | None:
        """Claim while the slice lasts."""
        end = clock() + self._pace.slice
        while not self._stop and clock() < end:
            room = min(self._pace.room - len(self._hand), self._pace.claim)
            if room < self._pace.least:
                await self._await_room()
                continue
            claim = await self._try_claim(room)
            if claim is None:
                await self._stop.sleep(1.0)
                continue
            if claim.files:
                self._hand.take(claim)
                workers.start_soon(self._work, claim)
                if len(claim.files) < room:
                    await self._stop.sleep(self._pace.pause)
                continue
            if not self._hand and not self._worth_waiting(claim.next_wait):
                return claim.next_wait
            await self._stop.sleep(max(self._pace.pause, min(claim.next_wait or 0.0, 0.5)))
        return 0.0

    async def _try_claim(self, room: int) -> Claim | None:
        """Claim; None while the database is away, which is no reason to drop what is in hand."""
        if held := self._held():
            return Claim(next_wait=held)
        try:
            return await to_thread.run_sync(self._claim, room)
        except StoreUnavailable:
            return None

    def _worth_waiting(self, wait: float | None) -> bool:
        return wait is not None and wait <= self._pace.linger

    async def _await_room(self) -> None:
        with anyio.move_on_after(0.5):  # a stop must not wait for a long upload
            await self._hand.change()

    async def _finish(self, workers: anyio.abc.TaskGroup) -> None:
        """Let what is in hand come to its end; only a stop cuts it short, after the grace."""
        while self._hand and not self._stop:
            await self._await_room()
        with anyio.move_on_after(self._pace.grace):
            while self._hand:
                await self._hand.change()
        workers.cancel_scope.cancel()

    async def _hand_back(self) -> None:
        if self._hand:
            left = self._hand.items()
            with anyio.CancelScope(shield=True), anyio.move_on_after(5), suppress(StoreUnavailable):
                await to_thread.run_sync(self._queue.hand_back, left)

    async def _renew(self) -> None:
        while True:
            await anyio.sleep(RENEW_EVERY)
            tokens = self._hand.tokens()
            if not tokens:
                continue
            try:
                await to_thread.run_sync(self._queue.renew, tokens, LEASE)
            except StoreUnavailable:
                continue  # the next renewal comes before the lease ends
