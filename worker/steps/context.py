"""One profile's service as a process sees it: its ports, its limits, and what calls taught us."""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import anyio

from worker.core.lifecycle import FileEventName, FileState
from worker.core.model.files import ClaimedFile, ErrorNote, PolledFile, UploadResult, UploadState
from worker.core.model.ids import Crew, FileId, is_run
from worker.core.model.wire import Category
from worker.core.pacing import freeze_for
from worker.core.rules import Rules
from worker.core.verdicts import Ended, Requeued, StillPolling, Verdict
from worker.errors import Channel, IngestError, ProfileStopped, ServiceBusy, UploadUnknown
from worker.ports.service import Dialogs, Statuses, Uploads
from worker.ports.sources import Sources
from worker.ports.store import Store
from worker.ports.telemetry import SpanName, Telemetry
from worker.steps.breaking import CategoryBreakers
from worker.steps.credential_trial import CredentialTrial
from worker.steps.grouping import persistently
from worker.steps.learning import Learning
from worker.steps.loop import clock
from worker.steps.places import Places
from worker.steps.recorder import Recorder
from worker.steps.throttle import LocalGate, RateLimiter, Reachability

Reply = TypeVar("Reply")

BOTH: frozenset[Channel] = frozenset({"upload", "status"})


REFUSED_HOLD = 3.0
"""Seconds that a process holds its calls by itself when they are refused: until what it has in
hand is handed back. The pause in the database holds everything from then on, and ends for all
workers at once."""


@dataclass
class ProfileContext:
    """Everything a step needs for one profile.

    Attributes:
        holder: this process, in the shared budget.
        places: what dialogs of this process have offered and no file has used.
        categories: what the newest dialog offered, to plan with before the next one is open.
        slots: this process's share of the uploads in flight; its size follows the budget.
    """

    rules: Rules
    holder: str
    store: Store
    recorder: Recorder
    telemetry: Telemetry
    dialogs: Dialogs
    uploads: Uploads
    statuses: Statuses
    sources: Sources
    gate: LocalGate = field(default_factory=LocalGate)
    reach: Reachability = field(default_factory=Reachability)
    places: Places = field(default_factory=Places)
    categories: tuple[Category, ...] = ()
    slots: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(0))
    upload_calls: RateLimiter = field(init=False)
    status_calls: RateLimiter = field(init=False)
    learning: Learning = field(init=False)
    trial: CredentialTrial = field(init=False)
    breakers: CategoryBreakers = field(init=False)

    def __post_init__(self) -> None:
        rules, store = self.rules, self.store
        self.upload_calls = RateLimiter(
            lambda want: store.take(rules.profile, "upload", rules.rate_limit or 0.0, want),
            rules.rate_limit,
        )
        self.status_calls = RateLimiter(
            lambda want: store.take(rules.profile, "status", rules.poll_rate_limit or 0.0, want),
            rules.poll_rate_limit,
        )
        self.trial = CredentialTrial(lambda: self.timed("dialog", self.dialogs.open()))
        self.breakers = CategoryBreakers(store, rules.profile, rules.break_after, self.telemetry)
        self.learning = Learning(store, rules.profile, rules.poll_price)

    @property
    def profile(self) -> str:
        """The profile's name."""
        return self.rules.profile

    async def busy(self, channel: Channel, error: ServiceBusy) -> None:
        """Freeze the fleet's calls as the service asked: 429 this kind of call, 503 all."""
        await self.freeze(BOTH if error.everything else {channel}, error, error.retry_after)

    async def freeze(
        self, channels: Collection[Channel], error: IngestError, seconds: float | None = None
    ) -> None:
        """Hold calls for the whole fleet, for longer each time in a row."""
        if all(self.gate.left(channel) for channel in channels):
            return  # another call of this process has just done so: one strike, not many
        self.gate.close(channels, 1.0)
        strikes = 0
        for channel in sorted(channels):
            strikes = max(strikes, await persistently(self.store.strikes, self.profile, channel))
        wait = freeze_for(strikes, seconds)
        self.gate.close(channels, wait)
        begun = await persistently(self.store.freeze, self.profile, channels, wait, error.message)
        self.gate.close(channels, wait)  # from when it was written: nobody is back too early
        self.telemetry.event(
            "profile_frozen" if begun else "freeze_extended",
            profile=self.profile,
            channels=sorted(begun or channels),
            seconds=round(wait, 1),
            reason=error.code,
        )

    async def stop(self, crew: Crew, error: ProfileStopped) -> None:
        """Nothing works with these settings: a run ends, a fleet waits for a human."""
        self.gate.close(BOTH, REFUSED_HOLD)
        if is_run(crew):
            await self.fail_run(crew, error.code, error.message)
            return
        if await persistently(self.store.pause, self.profile, error.message):
            self.telemetry.event("profile_paused", profile=self.profile, reason=error.message)

    async def fail_run(self, crew: Crew, code: str, message: str) -> None:
        """End every file that a run still has open."""
        if await persistently(self.store.fail_open, crew, code, message):
            # Of many calls in flight that are refused together, one ends the files and tells.
            self.telemetry.event("files_failed", crew=crew, code=code, reason=message)

    async def thaw(self, channel: Channel) -> None:
        """The probing call went well."""
        await persistently(self.store.thaw, self.profile, channel)
        self.telemetry.event("profile_thawed", profile=self.profile, channel=channel)

    async def record(self, file: ClaimedFile, verdict: Verdict) -> None:
        """Have a verdict written, tell what ended, and report what nobody could foresee."""
        if isinstance(verdict, StillPolling) and verdict.note is FileEventName.UNKNOWN_STATUS:
            self.telemetry.event("unknown_status", **_named(file), status=verdict.status)
        if verdict.upload is not None and verdict.upload.state is UploadState.UNKNOWN:
            self.telemetry.event("upload_unknown", **_named(file), state=verdict.state)
        began = clock()
        if not await self.recorder.verdict(verdict):
            return
        self.telemetry.span("record", file.id, clock() - began, state=verdict.state.value)
        if (cause := _cause(verdict)) is not None:
            self.telemetry.count("chatflow_ingest_retries_total", profile=self.profile, cause=cause)
        if isinstance(verdict, Ended):
            self._tell_end(file, verdict)
            category = file.category if isinstance(file, PolledFile) else None
            if verdict.traits is not None:
                category = verdict.traits.category
            await self.breakers.heard(category, verdict)

    def _tell_end(self, file: ClaimedFile, verdict: Ended) -> None:
        age = None
        if isinstance(file, PolledFile):
            age = round(file.age, 2)
            if verdict.state is not FileState.TIMED_OUT:
                lag = max(0.0, file.age - file.asked_age)
                self.telemetry.observe("chatflow_ingest_lag_seconds", lag, profile=self.profile)
        self.telemetry.count(
            "chatflow_ingest_files_ended_total", profile=self.profile, state=verdict.state
        )
        self.telemetry.event(
            "file_ended",
            profile=self.profile,
            batch=str(file.batch_id),
            **_named(file),
            state=verdict.state.value,
            code=None if verdict.error is None else verdict.error.code,
            seconds=age,
            polls=file.polls + verdict.asked,
        )
        self.telemetry.whole(
            file.id,
            file.handed_in_at,
            file.batch_id,
            None if verdict.error is None else verdict.error.code,
            state=verdict.state.value,
            profile=self.profile,
        )

    async def timed(
        self, channel: Channel | Literal["dialog"], call: Awaitable[Reply], *files: FileId
    ) -> Reply:
        """Make a call, count it by its outcome, and note how long it took to be answered.

        Args:
            channel: what kind of call it is.
            call: the call itself.
            files: those that it is made for.
        """
        started = clock()
        try:
            reply = await call
        except IngestError as error:
            error.seconds = round(clock() - started, 3)
            self._count(channel, type(error).code)
            self._trace(channel, files, error.seconds, type(error).code)
            raise
        self._count(channel, "ok")
        seconds = clock() - started
        self._trace(channel, files, seconds)
        self.telemetry.observe(
            "chatflow_ingest_call_seconds", seconds, profile=self.profile, channel=channel
        )
        return reply

    def _trace(
        self, name: SpanName, files: tuple[FileId, ...], seconds: float, error: str | None = None
    ) -> None:
        for file in files:
            self.telemetry.span(name, file, seconds, error, profile=self.profile)

    def _count(self, channel: str, outcome: str) -> None:
        self.telemetry.count(
            "chatflow_ingest_calls_total", profile=self.profile, channel=channel, outcome=outcome
        )


def _named(file: ClaimedFile) -> dict[str, str]:
    """How an event tells of a file: by its id, and by the name that its owner knows it by."""
    return {"file": str(file.id), "file_name": file.name}


def _cause(verdict: Verdict) -> str | None:
    """What went wrong with a file that is tried again, None where nothing did."""
    match verdict:
        case Requeued(error=ErrorNote(code=code)):
            return code
        case Requeued(upload=UploadResult(state=UploadState.UNKNOWN)):
            return UploadUnknown.code
        case StillPolling(error=ErrorNote(code=code), failures=failures) if failures:
            return code
        case _:
            return None
