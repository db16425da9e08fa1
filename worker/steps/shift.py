"""A shift: claim while there is room, work what was claimed, renew the leases, hand back the rest.

Submitting and polling are the same loop around different work. A shift ends when nothing is due
soon, when its time slice is over (so that it is seen to come and go, and others get their turn),
or when the process is told to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import anyio
from anyio import to_thread

from worker.codes import ErrorCode
from worker.core.model.files import Claim, ClaimedFile, ErrorNote
from worker.core.model.ids import FileId, LeaseToken
from worker.errors import StoreUnavailable
from worker.ports.queue import Queue
from worker.ports.telemetry import Telemetry
from worker.steps.grouping import persistently
from worker.steps.lasting import keep_doing, report
from worker.steps.loop import clock
from worker.steps.shift_limits import ShiftLimits
from worker.steps.stopping import Stopping

File = TypeVar("File", bound=ClaimedFile)


_DRAINED = ErrorNote(ErrorCode.DRAINED, "its worker was told to stop")


class FilesInHand:
    """The files that are in hand: claimed, and neither recorded nor handed back.

    By id and token: a file that is due again at once may be claimed anew before the answer to its
    record is here, and is in hand twice for a moment.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self._files: dict[tuple[FileId, LeaseToken], None] = {}
        self._changed = anyio.Event()

    def __len__(self) -> int:
        return len(self._files)

    def take(self, claim: Claim[ClaimedFile]) -> None:
        """The claim's files are in hand from now on."""
        self._files.update({(file.id, file.token): None for file in claim.files})

    def drop(self, file: ClaimedFile) -> None:
        """The file was recorded, or is somebody else's."""
        self._files.pop((file.id, file.token), None)
        self._changed.set()

    async def work(self, file: ClaimedFile, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Work one file; whatever goes wrong with it is no other file's misfortune.

        An unexpected exception is logged and the file let go of, neither recorded nor handed back:
        its lease runs out, which counts one death, and after `POISON_AFTER` of them it fails.
        """
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - as said above
            self.telemetry.event("step_failed", file=str(file.id), reason=repr(error)[:500])
        self.drop(file)

    def tokens(self) -> set[LeaseToken]:
        """The leases to renew."""
        return {token for _, token in self._files}

    def items(self) -> list[tuple[FileId, LeaseToken]]:
        """What to hand back."""
        return list(self._files)

    async def change(self) -> None:
        """Wait until a file leaves the hand."""
        self._changed = anyio.Event()
        await self._changed.wait()


class Shift(Generic[File]):
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
        claim: Callable[[int], Claim[File]],
        work: Callable[[Claim[File]], Coroutine[Any, Any, None]],
        in_hand: FilesInHand,
        stop: Stopping,
        limits: ShiftLimits,
        held: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._queue = queue
        self._claim = claim
        self._work = work
        self._in_hand = in_hand
        self._stop = stop
        self._limits = limits
        self._held = held

    async def run(self) -> float | None:
        """Work until the shift is over.

        Returns the seconds until the next file is due, None when there is none.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_renewing)
            async with anyio.create_task_group() as workers:
                wait = await self._claim_on(workers)
                await self._finish(workers)
            await self._hand_back()
            tasks.cancel_scope.cancel()
        return wait

    async def _claim_on(self, workers: anyio.abc.TaskGroup) -> float | None:
        """Claim while the slice lasts."""
        end = clock() + self._limits.slice
        while not self._stop and clock() < end:
            room = min(self._limits.room - len(self._in_hand), self._limits.claim)
            if room < self._limits.least:
                await self._await_room()
                continue
            claim = await self._try_claim(room)
            if claim is None:
                await self._stop.sleep(1.0)
                continue
            if claim.files:
                self._in_hand.take(claim)
                workers.start_soon(self._work_out, claim)
                if len(claim.files) < room:
                    await self._stop.sleep(self._limits.pause)
                continue
            if not self._in_hand and not self._worth_waiting(claim.next_wait):
                return claim.next_wait
            await self._stop.sleep(max(self._limits.pause, min(claim.next_wait or 0.0, 0.5)))
        return 0.0

    async def _try_claim(self, room: int) -> Claim[File] | None:
        """Claim; None when that fails, which is no reason to drop what is in hand."""
        if held := self._held():
            return Claim(next_wait=held)
        try:
            return await to_thread.run_sync(self._claim, room)
        except StoreUnavailable:
            return None
        except Exception as error:  # noqa: BLE001 - what is in hand must not fall with it
            report("claim", error, self._in_hand.telemetry)
            return None

    async def _work_out(self, claim: Claim[File]) -> None:
        """Work one claim; an error in it lets go of its files, and of no other claim's."""
        try:
            await self._work(claim)
        except Exception as error:  # noqa: BLE001 - as said above
            report("work", error, self._in_hand.telemetry)
            for file in claim.files:
                self._in_hand.drop(file)

    def _worth_waiting(self, wait: float | None) -> bool:
        return wait is not None and wait <= self._limits.linger

    async def _await_room(self) -> None:
        with anyio.move_on_after(0.5):  # a stop must not wait for a long upload
            await self._in_hand.change()

    async def _finish(self, workers: anyio.abc.TaskGroup) -> None:
        """Let what is in hand come to its end; only a stop cuts it short, after the grace."""
        while self._in_hand and not self._stop:
            await self._await_room()
        with anyio.move_on_after(self._limits.grace):
            while self._in_hand:
                await self._in_hand.change()
        workers.cancel_scope.cancel()

    async def _hand_back(self) -> None:
        if self._in_hand:
            left = self._in_hand.items()
            with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                await persistently(self._queue.hand_back, left, _DRAINED)

    async def _keep_renewing(self) -> None:
        every = self._limits.timings.renew_every
        await anyio.sleep(every)
        await keep_doing("renew", self._renew, every=every, telemetry=self._in_hand.telemetry)

    async def _renew(self) -> None:
        """Renew what is in hand; one that fails is followed by another before the leases end."""
        if tokens := self._in_hand.tokens():
            await to_thread.run_sync(self._queue.renew, tokens, self._limits.timings.lease)
