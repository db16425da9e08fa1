"""One profile's service as a process sees it: its ports, its limits, and what calls taught us."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import anyio

from worker.core.model import Category, Crew, UploadState, Verdict, is_run
from worker.core.pacing import freeze_for
from worker.core.rules import Rules
from worker.errors import Channel, CredentialsRefused, IngestError, ServiceBusy
from worker.ports import Dialogs, Sources, Statuses, Store, Telemetry, Uploads
from worker.steps.grouping import persistently
from worker.steps.learning import Learning
from worker.steps.loop import clock
from worker.steps.recorder import Recorder

Reply = TypeVar("Reply")

BOTH: frozenset[Channel] = frozenset({"upload", "status"})


PROBE_EVERY = 60.0
"""Seconds between two probes of a profile whose credentials were refused."""

REFUSED_HOLD = 3.0
"""Seconds that a process holds its calls by itself when they are refused: until what it has in
hand is handed back. The pause in the database holds everything from then on, and ends for all
workers at once."""


class Gate:
    """This process's copy of a profile's freezes, so that calls in hand stop at once."""

    def __init__(self) -> None:
        self._until: dict[Channel, float] = {}

    def close(self, channels: Collection[Channel], seconds: float) -> None:
        """Hold these calls for so many seconds, at least."""
        until = clock() + seconds
        for channel in channels:
            self._until[channel] = max(until, self._until.get(channel, 0.0))

    def left(self, channel: Channel) -> float:
        """Seconds until this kind of call may be made, 0 when it may be now."""
        until = self._until.get(channel)
        return 0.0 if until is None else max(0.0, until - clock())


class Reach:
    """For how long the service has been out of reach, without a call that got through."""

    def __init__(self) -> None:
        self._since: float | None = None

    def reached(self) -> None:
        """A call got an answer, whatever it said."""
        self._since = None

    def missed(self) -> float:
        """A call got none; returns the seconds since the first of these misses."""
        now = clock()
        if self._since is None:
            self._since = now
        return now - self._since


class Allowance:
    """Calls per second over the whole fleet, taken from the shared bucket a few at a time."""

    def __init__(self, take: Callable[[int], tuple[int, float]], rate: float | None) -> None:
        self._take = take
        self._chunk = max(1, int((rate or 0.0) / 5))  # what 0.2 s of calls need: few round trips
        self._unlimited = rate is None
        self._left = 0
        self._lock = anyio.Lock()

    async def spend(self) -> None:
        """Wait until one call may be made."""
        if self._unlimited:
            return
        async with self._lock:
            while self._left < 1:
                self._left, wait = await persistently(self._take, self._chunk)
                if self._left < 1:
                    await anyio.sleep(wait)
            self._left -= 1


@dataclass
class Service:
    """Everything a step needs for one profile.

    Attributes:
        holder: this process, in the shared budget.
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
    gate: Gate = field(default_factory=Gate)
    reach: Reach = field(default_factory=Reach)
    categories: tuple[Category, ...] = ()
    slots: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(0))
    upload_calls: Allowance = field(init=False)
    status_calls: Allowance = field(init=False)
    learning: Learning = field(init=False)

    def __post_init__(self) -> None:
        rules, store = self.rules, self.store
        self.upload_calls = Allowance(
            lambda want: store.take(rules.profile, "upload", rules.rate_limit or 0.0, want),
            rules.rate_limit,
        )
        self.status_calls = Allowance(
            lambda want: store.take(rules.profile, "status", rules.poll_rate_limit or 0.0, want),
            rules.poll_rate_limit,
        )
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
        for channel in channels:
            strikes = max(
                strikes, (await persistently(self.store.strikes, self.profile, channel))[0]
            )
        wait = freeze_for(strikes, seconds)
        self.gate.close(channels, wait)
        await persistently(self.store.freeze, self.profile, channels, wait, error.message)
        self.telemetry.event(
            "profile_frozen",
            profile=self.profile,
            channels=sorted(channels),
            seconds=round(wait, 1),
            reason=error.code,
        )

    async def refused(self, crew: Crew, error: CredentialsRefused) -> None:
        """Nothing works with these credentials: a run ends, a fleet waits for a human."""
        self.gate.close(BOTH, REFUSED_HOLD)
        if is_run(crew):
            await self.fail_run(crew, error.code, error.message)
            return
        await persistently(self.store.pause, self.profile, error.message)
        self.telemetry.event("profile_paused", profile=self.profile, reason=error.message)

    async def fail_run(self, crew: Crew, code: str, message: str) -> None:
        """End every file that a run still has open."""
        await persistently(self.store.fail_open, crew, code, message)
        self.telemetry.event("files_failed", crew=crew, code=code, reason=message)

    async def thaw(self, channel: Channel) -> None:
        """The probing call went well."""
        await persistently(self.store.thaw, self.profile, channel)
        self.telemetry.event("profile_thawed", profile=self.profile, channel=channel)

    async def record(self, verdict: Verdict) -> None:
        """Have a verdict written, count what ended, and report what nobody could foresee."""
        if verdict.note == "unknown_status":
            self.telemetry.event("unknown_status", file=str(verdict.file), status=verdict.status)
        if verdict.upload is not None and verdict.upload.state is UploadState.UNKNOWN:
            self.telemetry.event("upload_unknown", file=str(verdict.file), state=verdict.state)
        if await self.recorder.verdict(verdict) and verdict.state.is_terminal:
            self.telemetry.count(
                "chatflow_ingest_files_ended_total", profile=self.profile, state=verdict.state
            )

    async def timed(self, channel: Channel | Literal["dialog"], call: Awaitable[Reply]) -> Reply:
        """Make a call, count it by its outcome, and note how long it took to be answered."""
        started = clock()
        try:
            reply = await call
        except IngestError as error:
            self._count(channel, type(error).code)
            raise
        self._count(channel, "ok")
        seconds = clock() - started
        self.telemetry.observe(
            "chatflow_ingest_call_seconds", seconds, profile=self.profile, channel=channel
        )
        return reply

    def _count(self, channel: str, outcome: str) -> None:
        self.telemetry.count(
            "chatflow_ingest_calls_total", profile=self.profile, channel=channel, outcome=outcome
        )
