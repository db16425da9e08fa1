"""Poll: claim files that are due, ask the service for their status, record what it says."""

from __future__ import annotations

from functools import partial

import anyio
from anyio import to_thread

from worker.core.lifecycle import FileState, Lane
from worker.core.model import Claim, ClaimedFile, Crew, StatusReply, Verdict, is_run
from worker.core.polling import answered, unanswered
from worker.core.rules import LEASE
from worker.errors import CredentialsRefused, ServiceBusy, ServiceUnreachable, TryLater
from worker.steps.loop import TaskGroup
from worker.steps.service import BOTH, Service
from worker.steps.shift import Hand, Pace, Shift
from worker.steps.stopping import Stopping

MANY_CHARACTERS = 100_000
"""Contents from this length on are decoded in a thread, so that other calls are not held up."""

OUT_OF_REACH_AFTER = 10.0
"""Seconds of nothing but failed connections after which a fleet's calls are frozen."""


class Polling:
    """One poll shift of a crew."""

    def __init__(self, service: Service, crew: Crew, stop: Stopping, pace: Pace) -> None:
        self._service = service
        self._crew = crew
        self._hand = Hand(service.telemetry)
        held = partial(service.gate.left, "status")
        self._shift = Shift(service.store, self._claim, self._work, self._hand, stop, pace, held)

    async def run(self) -> float | None:
        """Work until the shift is over; returns the seconds until more is due, if any is."""
        return await self._shift.run()

    def _claim(self, limit: int) -> Claim:
        store = self._service.store
        return store.claim(self._service.profile, self._crew, Lane.POLL, limit, LEASE)

    async def _work(self, claim: Claim) -> None:
        async with TaskGroup() as tasks:
            for file in claim.files:
                poll = partial(self._poll, file, probing=claim.probing)
                tasks.create_task(self._hand.work(file, poll))

    async def _poll(self, file: ClaimedFile, *, probing: bool) -> None:
        if file.due_in > 0:
            await anyio.sleep(file.due_in)
        await self._service.status_calls.spend()
        verdict = None
        if not self._service.gate.left("status"):
            verdict = await self._ask(file, probing=probing)
        if verdict is None:
            await self._service.recorder.hand_back(file)
        else:
            await self._service.record(verdict)

    async def _ask(self, file: ClaimedFile, *, probing: bool) -> Verdict | None:
        """Ask once; None when the file is to be handed back, for the fleet holds its calls."""
        service = self._service
        if file.chatflow_file_id is None:
            return Verdict(file.id, file.token, FileState.QUEUED, wait=0.0)
        try:
            reply = await service.timed("status", service.statuses.ask(file.chatflow_file_id))
        except ServiceBusy as error:
            service.reach.reached()
            await service.busy("status", error)
            return None
        except CredentialsRefused as error:
            await service.refused(self._crew, error)
            return None
        except TryLater as error:
            return await self._failed(file, error, probing=probing)
        service.reach.reached()
        if probing:
            await service.thaw("status")
        return await self._decide(file, reply)

    async def _failed(self, file: ClaimedFile, error: TryLater, *, probing: bool) -> Verdict:
        service = self._service
        run = is_run(self._crew)
        if not isinstance(error, ServiceUnreachable):
            service.reach.reached()
            if probing:
                await service.thaw("status")
        elif service.reach.missed() >= self._patience(run=run):
            if run:
                await service.fail_run(self._crew, "service_unavailable", error.message)
            else:
                await service.freeze(BOTH, error)
        return unanswered(file, error, patient=not run)

    def _patience(self, *, run: bool) -> float:
        return self._service.rules.unreachable_after if run else OUT_OF_REACH_AFTER

    async def _decide(self, file: ClaimedFile, reply: StatusReply) -> Verdict:
        learning = self._service.learning
        decide = partial(answered, file, reply, self._service.rules, learning.next_wait(file))
        short = _length(reply) < MANY_CHARACTERS
        verdict = decide() if short else await to_thread.run_sync(decide)
        if verdict.state.is_terminal and verdict.state is not FileState.TIMED_OUT:
            learning.ready(file)
        return verdict


def _length(reply: StatusReply) -> int:
    contents = (reply.parse_content, reply.llm_content)
    return sum(len(text) if isinstance(text, str) else 0 for text in contents) + (
        MANY_CHARACTERS if isinstance(reply.parse_content, list | dict) else 0
    )
