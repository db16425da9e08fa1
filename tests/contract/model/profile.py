"""The model of what workers have in common: gates, breakers, reuse, who is alive, notifications."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tests.contract.model.queue import QueueModel
from tests.contract.model.records import ModelFile, ModelNotification
from worker.core.breaker import Applicant, breaker_id
from worker.core.lifecycle import FileState
from worker.core.model.ids import BatchId, Crew, FileId, LeaseToken
from worker.core.reuse import Wanted
from worker.core.seen import Narrow

PROBE_SECONDS, PROBE_EVERY = 30, 60
TWIN_AGAIN, BREAKER_AGAIN, CANARY_EVERY = 60, 600, 60
STRANGER_OVERDUE = 120
KEPT = 3600


@dataclass
class ModelFreeze:
    """A channel's freeze; `until` is None when there is none."""

    until: datetime | None = None
    strikes: int = 0
    probe_until: datetime | None = None
    probe: UUID | None = None


@dataclass
class ModelBreaker:
    """A category's failures in a row."""

    code: str
    failures: int = 1
    is_open: bool = False
    canary: FileId | None = None
    canary_at: datetime | None = None


class Model(QueueModel):
    """The whole store, for one profile."""

    def __init__(self, now: datetime, profile: str) -> None:
        super().__init__(now)
        self.profile = profile
        self.freezes: dict[str, ModelFreeze] = {}
        self.probe_at: datetime | None = None  # not None: paused
        self.breakers: dict[str, ModelBreaker] = {}
        self.attendants: dict[str, datetime] = {}

    # --- gates ---

    @property
    def paused(self) -> bool:
        return self.probe_at is not None

    def gate(self, channel: str) -> tuple[str, float]:
        """Where the calls stand, and seconds until it is worth looking again."""
        freeze = self.freezes.get(channel, ModelFreeze())
        if self.paused:
            return "paused", PROBE_EVERY
        if freeze.until is None:
            return "open", 0.0
        if freeze.until > self.now:
            return "frozen", self.until(freeze.until)
        return "thawing", self.until(freeze.probe_until)

    def admits(self, token: UUID) -> bool:
        """Whether an upload under this lease may be sent."""
        state, _ = self.gate("upload")
        return state == "open" or (state == "thawing" and token == self.freezes["upload"].probe)

    def freeze(self, channels: Collection[str], seconds: float) -> list[str]:
        begun = []
        for channel in sorted(channels):
            freeze = self.freezes.setdefault(channel, ModelFreeze())
            if not freeze.strikes:
                begun.append(channel)
            frozen = freeze.until is not None and freeze.until > self.now
            until = max(self.after(seconds), freeze.until or self.now)
            self.freezes[channel] = ModelFreeze(until, freeze.strikes + (not frozen))
        return begun

    def thaw(self, channel: str) -> None:
        freeze = self.freezes.get(channel)
        if freeze is not None and freeze.until is not None and freeze.until <= self.now:
            self.freezes[channel] = ModelFreeze()

    def probing(self, channel: str, token: LeaseToken) -> None:
        """This claim is the probe."""
        self.freezes[channel].probe_until = self.after(PROBE_SECONDS)
        self.freezes[channel].probe = token

    def pause(self) -> bool:
        begins = not self.paused
        if begins:
            self.probe_at = self.after(PROBE_EVERY)
        return begins

    def take_probe(self, every: float) -> bool:
        if self.probe_at is None or self.probe_at > self.now:
            return False
        self.probe_at = self.after(every)
        return True

    # --- breakers ---

    def heard_of(self, category: str, code: str | None, limit: int) -> str | None:
        known = self.breakers.pop(category, None)
        if code is None:
            return "closed" if known is not None and known.is_open else None
        if known is None or not (known.is_open or known.code == code):
            known = ModelBreaker(code, failures=0)
        self.breakers[category] = known
        known.code, known.failures = code, known.failures + 1
        if known.is_open or known.failures < limit:
            return None
        known.is_open, known.canary_at = True, self.after(CANARY_EVERY)
        return "opened"

    def held_back(self, applicants: Sequence[Applicant]) -> frozenset[FileId]:
        held = {each.file: each for each in applicants if not self._let_through(each, applicants)}
        for key, each in held.items():
            file = self.files.get(key)
            if file is not None and file.lease_token == each.token:
                self._put_off(file, BREAKER_AGAIN, "breaker_open")
                file.category = each.category
                file.waits_for = breaker_id(self.profile, each.category)
        return frozenset(held)

    def _let_through(self, each: Applicant, applicants: Sequence[Applicant]) -> bool:
        known = self.breakers.get(each.category)
        if known is None or not known.is_open:
            return True
        of_category = [other.file for other in applicants if other.category == each.category]
        if known.canary not in of_category and self.until(known.canary_at) <= 0:
            known.canary, known.canary_at = of_category[0], self.after(CANARY_EVERY)
        return each.file == known.canary

    def close_breakers(self, category: str | None) -> None:
        if category is None:
            self.breakers.clear()
        else:
            self.breakers.pop(category, None)

    def retry(
        self, batch: BatchId, states: Collection[FileState], crew: Crew, narrow: Narrow
    ) -> int:
        number = super().retry(batch, states, crew, narrow)
        self.close_breakers(narrow.category)
        return number

    def _put_off(self, file: ModelFile, seconds: float, code: str) -> None:
        file.recorded_token, file.deaths, file.failures = file.lease_token, 0, 0
        file.error_code = code
        file.place(FileState.QUEUED, self.after(seconds), self.now)

    def held_by_breaker(self, key: UUID | None) -> bool:
        return any(
            known.is_open and breaker_id(self.profile, category) == key
            for category, known in self.breakers.items()
        )

    # --- those that wait ---

    def waiting(self) -> list[ModelFile]:
        """Queued files that wait for another one, or for a breaker."""
        return [f for f in self.files.values() if f.state is FileState.QUEUED and f.waits_for]

    def released(self) -> set[FileId]:
        """Those whose waiting has come to its end."""
        return {
            file.id
            for file in self.waiting()
            if not self.in_flight(file.waits_for) and not self.held_by_breaker(file.waits_for)
        }

    def wake(self, woken: Collection[FileId]) -> None:
        for key in woken:
            self.files[key].next_at, self.files[key].waits_for = self.now, None

    # --- reuse ---

    def twins(self, wanted: Wanted, held: Collection[FileId]) -> list[ModelFile]:
        return [f for f in self.files.values() if f.reuse_key == wanted.key and f.id not in held]

    def holds(self, wanted: Wanted) -> bool:
        file = self.files.get(wanted.file)
        return file is not None and file.lease_token == wanted.token

    def origins(self, wanted: Wanted, held: Collection[FileId], within: float) -> set[FileId]:
        """Whose result it may have: the newest that is still kept."""
        known = {
            twin.id: twin.finished_at
            for twin in self.twins(wanted, held)
            if twin.state is FileState.SUCCEEDED
            and twin.result
            and twin.finished_at is not None
            and twin.finished_at >= self.after(-within)
        }
        newest = max(known.values(), default=None)
        return {key for key, ended in known.items() if ended == newest}

    def flying(self, wanted: Wanted, held: Collection[FileId], crew: Crew) -> set[FileId]:
        """Whom it may wait for."""
        return {
            twin.id
            for twin in self.twins(wanted, held)
            if self.in_flight(twin.id)
            and (twin.crew == crew or self._overdue(twin) < STRANGER_OVERDUE)
        }

    def _overdue(self, file: ModelFile) -> float:
        assert file.next_at is not None
        return max(0.0, (self.now - file.next_at).total_seconds())

    def go_ahead(self, wanted: Wanted) -> None:
        file = self.files[wanted.file]
        file.reuse_key, file.waits_for = wanted.key, None

    def wait_for(self, wanted: Wanted, twin: FileId) -> None:
        file = self.files[wanted.file]
        self._put_off(file, TWIN_AGAIN, "same_in_flight")
        file.category, file.size = wanted.category, wanted.size
        file.reuse_key, file.waits_for = None, twin

    def take_over(self, wanted: Wanted, origin: FileId) -> None:
        file, other = self.files[wanted.file], self.files[origin]
        self._put_off(file, 0, "")
        self.end(file, FileState.SUCCEEDED, None)
        file.reuse_key, file.reused_from, file.waits_for = None, origin, None
        file.category, file.size = wanted.category, wanted.size
        file.service_status = other.service_status
        file.result, file.has_result = other.result, True

    # --- who is alive ---

    def attend(self, holder: str, ttl: float) -> bool:
        if holder not in self.attendants:
            for name in [n for n, until in self.attendants.items() if until < self.after(-KEPT)]:
                del self.attendants[name]
        self.attendants[holder] = self.after(ttl)
        return bool(self.silent())

    def silent(self) -> list[str]:
        return sorted(name for name, until in self.attendants.items() if until <= self.now)

    def bury_silent(self) -> list[str]:
        names = self.silent()
        for name in names:
            self.end_leases(UUID(name).bytes[:8])
            del self.attendants[name]
        return names

    # --- notifications ---

    def notifications_due(self) -> list[ModelNotification]:
        due = [each for each in self.outbox if each.next_at and each.next_at <= self.now]
        return sorted(due, key=lambda each: each.next_at or self.now)

    def attempted(self, entry: ModelNotification, at: datetime | None, *, delivered: bool) -> None:
        """An attempt to deliver it ended; one that was delivered stays so."""
        if entry.delivered:
            return
        entry.attempts += 1
        entry.next_at, entry.delivered = at, delivered
        entry.dead = not delivered and at is None

    def replay(self) -> int:
        dead = [each for each in self.outbox if each.dead]
        for each in dead:
            each.dead, each.attempts, each.next_at = False, 0, self.now
        return len(dead)
