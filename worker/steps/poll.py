"""Poll: claim files that are due, ask the service for their status, record what it says."""

from __future__ import annotations

from functools import partial

import anyio
from anyio import to_thread

from worker.codes import ErrorCode
from worker.core.lifecycle import FileState, Lane
from worker.core.model.files import Claim, ErrorNote, PolledFile
from worker.core.model.ids import Crew, is_run
from worker.core.model.wire import StatusReply
from worker.core.polling import answered, nothing_to_ask, unanswered
from worker.core.verdicts import Verdict
from worker.errors import IngestError, ProfileStopped, ServiceBusy, ServiceUnreachable, TryLater
from worker.steps.context import BOTH, ProfileContext
from worker.steps.loop import side_by_side
from worker.steps.shift import FilesInHand, Shift
from worker.steps.shift_limits import ShiftLimits
from worker.steps.stopping import Stopping

MANY_CHARACTERS = 100_000
"""Contents from this length on are decoded in a thread, so that other calls are not held up."""

OUT_OF_REACH_AFTER = 10.0
"""Seconds of nothing but failed connections after which a fleet's calls are frozen."""


class PollShift:
    """One poll shift of a crew."""

    def __init__(
        self, context: ProfileContext, crew: Crew, stop: Stopping, limits: ShiftLimits
    ) -> None:
        self._context = context
        self._crew = crew
        self._in_hand = FilesInHand(context.telemetry)
        held = partial(context.gate.left, "status")
        self._shift = Shift(
            context.store, self._claim, self._work, self._in_hand, stop, limits, held
        )

    async def run(self) -> float | None:
        """Work until the shift is over; returns the seconds until more is due, if any is."""
        return await self._shift.run()

    def _claim(self, limit: int) -> Claim[PolledFile]:
        context, lease = self._context, self._context.rules.timings.lease
        return context.store.claim(context.profile, self._crew, Lane.POLL, limit, lease)

    async def _work(self, claim: Claim[PolledFile]) -> None:
        await side_by_side(
            self._in_hand.work(file, partial(self._poll, file, probing=claim.probing))
            for file in claim.files
        )

    async def _poll(self, file: PolledFile, *, probing: bool) -> None:
        if file.due_in > 0:
            await anyio.sleep(file.due_in)
        await self._context.status_calls.spend()
        came = None
        if not self._context.gate.left("status"):
            came = await self._ask(file, probing=probing)
        if came is None or isinstance(came, ErrorNote):
            await self._context.recorder.hand_back(file, came)
        else:
            await self._context.record(file, came)

    async def _ask(self, file: PolledFile, *, probing: bool) -> Verdict | ErrorNote:
        """Ask once; a note when the file is to be handed back, for the fleet holds its calls."""
        context = self._context
        if file.chatflow_file_id is None:
            return nothing_to_ask(file)
        try:
            reply = await context.timed(
                "status", context.statuses.ask(file.chatflow_file_id), file.id
            )
        except IngestError as raised:
            error = await context.trial.judge(raised)
            return await self._unanswered(file, error, probing=probing)
        context.reach.reached()
        if probing:
            await context.thaw("status")
        return await self._decide(file, reply)

    async def _unanswered(
        self, file: PolledFile, error: IngestError, *, probing: bool
    ) -> Verdict | ErrorNote:
        context = self._context
        match error:
            case ServiceBusy():
                context.reach.reached()
                await context.busy("status", error)
                return _handed_back(error)
            case ProfileStopped():
                await context.stop(self._crew, error)
                return _handed_back(error)
            case TryLater():
                return await self._failed(file, error, probing=probing)
            case _:
                raise error

    async def _failed(self, file: PolledFile, error: TryLater, *, probing: bool) -> Verdict:
        context = self._context
        run = is_run(self._crew)
        if not isinstance(error, ServiceUnreachable):
            context.reach.reached()
            if probing:
                await context.thaw("status")
        elif context.reach.missed() >= self._patience(run=run):
            if run:
                await context.fail_run(self._crew, ErrorCode.SERVICE_UNAVAILABLE, error.message)
            else:
                await context.freeze(BOTH, error)
        return unanswered(file, error, patient=not run)

    def _patience(self, *, run: bool) -> float:
        return self._context.rules.unreachable_after if run else OUT_OF_REACH_AFTER

    async def _decide(self, file: PolledFile, reply: StatusReply) -> Verdict:
        learning = self._context.learning
        decide = partial(answered, file, reply, self._context.rules, learning.next_wait(file))
        short = _length(reply) < MANY_CHARACTERS
        verdict = decide() if short else await to_thread.run_sync(decide)
        if verdict.state.is_terminal and verdict.state is not FileState.TIMED_OUT:
            learning.ready(file)
        return verdict


def _handed_back(error: IngestError) -> ErrorNote:
    """Why a file goes back; to a tenth of a second, so that many share a reason and a write."""
    took = None if error.seconds is None else round(error.seconds, 1)
    return ErrorNote(error.code, error.message, took)


def _length(reply: StatusReply) -> int:
    contents = (reply.parse_content, reply.llm_content)
    return sum(len(text) if isinstance(text, str) else 0 for text in contents) + (
        MANY_CHARACTERS if isinstance(reply.parse_content, list | dict) else 0
    )
