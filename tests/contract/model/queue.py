"""The model of the queue: what a claim may take, and what a verdict leaves.

Where the contract leaves a choice (which of several files with the same turn), the model is told
what the store chose, says whether it may, and goes on with that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.contract.model.batches import BatchModel
from tests.contract.model.records import COUNTED, MEANT, NEVER_SENT, ModelFile, ModelUpload
from worker.core.lifecycle import FileState, Lane
from worker.core.model.files import DialogLoad, Sending, UploadState
from worker.core.model.ids import BatchId, Crew, FileId, LeaseToken, UploadId
from worker.core.verdicts import Accepted, Ended, Requeued, Resumed, StillPolling, Traits, Verdict

ALONE, POISON = 2, 4
AHEAD = 0.25
PARSED = 5


class QueueModel(BatchModel):
    """Claims, leases, verdicts and the ledger."""

    # --- claims ---

    def claimable(self, crew: Crew, lane: Lane) -> list[ModelFile]:
        """The crew's files that are due, those first that have to come first."""
        found = [
            file
            for file in self.files.values()
            if file.crew == crew and file.state.lane is lane and self._is_due(file, lane)
        ]
        return sorted(found, key=_order(lane))

    def _is_due(self, file: ModelFile, lane: Lane) -> bool:
        assert file.next_at is not None
        ahead = AHEAD if lane is Lane.POLL and file.lease_token is None else 0
        return file.next_at <= self.after(ahead)

    def bury(self, crew: Crew, lane: Lane, limit: int, buried: Collection[FileId]) -> None:
        """These files ended as poison on the way to a claim."""
        for key in buried:
            file = self.files[key]
            assert file in self.claimable(crew, lane), "buried without being due"
            assert file.claimed_deaths >= POISON, "buried alive"
            deaths = file.claimed_deaths
            self.end(file, FileState.FAILED, "poison")
            file.deaths = deaths
            if file.size is None and file.ledger:
                file.category, file.size = MEANT
        assert not [
            file for file in surely(self.claimable(crew, lane), _order(lane), limit)
            if file.claimed_deaths >= POISON
        ], "poison stands among the first and was not buried"  # fmt: skip

    def check_choice(self, crew: Crew, lane: Lane, limit: int, taken: Sequence[FileId]) -> None:
        """Whether a claim of so many may take these, and has to take no other."""
        candidates, order = self.claimable(crew, lane), _order(lane)
        if not candidates or not limit:
            assert not taken, "took what is not due"
            return
        files = [self.files[key] for key in taken]
        assert files, "took nothing of what is due"
        assert all(file in candidates for file in files), "took what is not due"
        first = order(candidates[0])
        if files[0].claimed_deaths >= ALONE:
            assert len(files) == 1, "a suspect was not alone"
            assert order(files[0]) == first, "a suspect was taken before its turn"
            return
        assert all(file.claimed_deaths < ALONE for file in files), "a suspect was not alone"
        assert any(order(file) == first for file in files), "the first in turn was passed over"
        missing = [
            file for file in surely(candidates, order, limit)
            if file.claimed_deaths < ALONE and file not in files
        ]  # fmt: skip
        assert not missing, "one that stands among the first was passed over"
        last = order(candidates[min(limit, len(candidates)) - 1])
        assert len(files) <= limit
        assert all(order(file) <= last for file in files), "taken before its turn"

    def take(self, lane: Lane, taken: Sequence[FileId], token: LeaseToken, lease: float) -> None:
        for key in taken:
            file = self.files[key]
            file.deaths = file.claimed_deaths
            file.lease_token, file.next_at = token, self.after(lease)
            if lane is Lane.SUBMIT:
                file.state, file.waits_for = FileState.SUBMITTING, None

    def next_wait(self, crew: Crew, lane: Lane) -> float | None:
        """Seconds until the first row of the lane is due."""
        moments = [
            file.next_at
            for file in self.files.values()
            if file.crew == crew and file.state.lane is lane and file.next_at is not None
        ]
        return min((self.until(moment) for moment in moments), default=None)

    def until(self, moment: datetime | None) -> float:
        return 0.0 if moment is None else max(0.0, (moment - self.now).total_seconds())

    def renew(self, tokens: Collection[LeaseToken], lease: float) -> None:
        for file in self.files.values():
            if file.lease_token in tokens:
                file.next_at = self.after(lease)

    def end_leases(self, half: bytes) -> None:
        """Those of a holder, by the half of its name that its tokens begin with."""
        for file in self.files.values():
            if file.lease_token is not None and file.lease_token.bytes[:8] == half:
                file.next_at = self.now

    def hand_back(
        self, files: Collection[tuple[FileId, LeaseToken]], *, asked: bool = False
    ) -> None:
        for key, token in dict(files).items():
            file = self.files.get(key)
            if file is None or file.lease_token != token:
                continue
            polling = file.state is FileState.POLLING
            file.polls += polling and asked
            file.place(FileState.POLLING if polling else FileState.QUEUED, None, self.now)
            for upload in file.ledger:
                if upload.state is UploadState.INTENT:
                    self._told(upload, UploadState.WITHDRAWN)

    # --- the ledger ---

    def begin_uploads(self, loads: Sequence[DialogLoad]) -> set[UploadId]:
        held = set()
        for intent in (intent for load in loads for intent in load.intents):
            file = self.files.get(intent.file)
            if file is None or file.lease_token != intent.token:
                continue
            held.add(intent.id)
            if file.upload(intent.id) is None:
                attempt = file.ledger[-1].attempt + 1 if file.ledger else 1
                file.ledger.append(ModelUpload(intent.id, attempt, intent.token))
        return held

    def _told(self, upload: ModelUpload, state: UploadState, theirs: str | None = None) -> None:
        upload.state, upload.chatflow_file_id, upload.ended_at = state, theirs, self.now

    # --- verdicts ---

    def record(
        self,
        verdicts: Sequence[Verdict],
        sending: Sequence[Sending],
        admits: Callable[[UUID], bool],
    ) -> set[FileId | UploadId]:
        """What is written of it; `admits` says whether a lease's uploads may be sent now."""
        done: set[FileId | UploadId] = {
            verdict.file for verdict in verdicts if self._recorded(verdict)
        }
        for each in sending:
            file = self.files.get(each.file)
            upload = None if file is None else file.upload(each.upload)
            if file is None or upload is None or file.lease_token != upload.lease_token:
                continue
            if upload.state in {UploadState.INTENT, UploadState.SENT} and admits(file.lease_token):
                done.add(upload.id)
                if upload.state is UploadState.INTENT:
                    upload.state, upload.sent_at = UploadState.SENT, self.now
        return done

    def _recorded(self, verdict: Verdict) -> bool:
        file = self.files.get(verdict.file)
        if file is None:
            return False
        held = file.lease_token == verdict.token
        counted, adopted, outdated = self._learned(verdict, file, held=held)
        file.upload_attempts += counted
        file.attempts_used += counted
        if outdated:
            file.place(FileState.QUEUED, None, self.now)
            return False
        if held or adopted:
            self._apply(verdict, file)
            return True
        if file.recorded_token != verdict.token:
            self._late(verdict, file)
        return file.recorded_token == verdict.token

    def _late(self, verdict: Verdict, file: ModelFile) -> None:
        """What stays true although its teller has lost the file."""
        file.polls += isinstance(verdict, StillPolling) or getattr(verdict, "asked", False)
        traits = getattr(verdict, "traits", None)
        if file.size is None and traits is not None:
            self._described(traits, file)

    def _described(self, traits: Traits | None, file: ModelFile) -> None:
        if traits is not None:
            file.size, file.category = traits.size, traits.category or file.category

    def _learned(self, verdict: Verdict, file: ModelFile, *, held: bool) -> tuple[bool, bool, bool]:
        """Whether it uses up an attempt, is adopted, is outdated."""
        told = verdict.upload
        upload = None if told is None else file.upload(told.id)
        if told is None or upload is None:
            return False, False, False
        before, news = upload.state, upload.learns(told.state)
        if news:
            self._told(upload, told.state, told.chatflow_file_id)
        counted = news and told.state in COUNTED and before not in COUNTED
        newer = [each for each in file.ledger if each.attempt > upload.attempt]
        adopted = (
            news
            and not held
            and told.state is UploadState.ACCEPTED
            and file.is_open
            and all(each.state in NEVER_SENT for each in newer)
        )
        for each in newer if adopted else ():
            if each.state is UploadState.INTENT:
                self._told(each, UploadState.WITHDRAWN)
        lost = told.state is UploadState.UNKNOWN and before is not UploadState.UNKNOWN
        return counted, adopted, held and lost and not news

    def _apply(self, verdict: Verdict, file: ModelFile) -> None:
        at = None
        code = None
        match verdict:
            case Accepted():
                self._begun(verdict, file)
                at = verdict.wait
            case Resumed():
                file.chatflow_file_id = verdict.chatflow_file_id
                self._said(file, verdict.status)
                self._until(file, verdict.deadline)
            case StillPolling() | Requeued():
                at, code = verdict.wait, verdict.error
                self._heard(verdict, file, asked=getattr(verdict, "asked", True))
            case Ended():
                code = verdict.error
                self._heard(verdict, file, asked=verdict.asked)
        file.place(verdict.state, self.after(at) if at else None, self.now)
        file.recorded_token, file.deaths = verdict.token, 0
        file.failures = getattr(verdict, "failures", 0)
        file.error_code = None if code is None else str(code.code)
        if verdict.contents is not None:
            file.result, file.has_result = verdict.contents.parse_text, True

    def _begun(self, verdict: Accepted, file: ModelFile) -> None:
        file.category, file.reuse_key = verdict.traits.category, verdict.traits.reuse_key
        file.size = verdict.traits.size
        file.chatflow_file_id = verdict.chatflow_file_id
        file.service_status, file.parsed = verdict.status, verdict.status == PARSED
        file.asked_at, file.submitted_at = None, self.now
        self._until(file, verdict.deadline)

    def _heard(self, verdict: Any, file: ModelFile, *, asked: bool) -> None:
        if asked:
            file.polls += 1
            file.asked_at = self.now
        self._said(file, verdict.status)
        self._described(getattr(verdict, "traits", None), file)

    def _said(self, file: ModelFile, status: int | None) -> None:
        file.service_status = file.service_status if status is None else status
        file.parsed = file.parsed or status == PARSED

    def _until(self, file: ModelFile, deadline: float) -> None:
        file.deadline_at, file.deadline_seconds = self.after(deadline), deadline


def _order(lane: Lane) -> Callable[[ModelFile], Any]:
    return (lambda file: file.turn) if lane is Lane.SUBMIT else (lambda file: file.next_at)


def surely(
    ordered: Sequence[ModelFile], order: Callable[[ModelFile], Any], limit: int
) -> list[ModelFile]:
    """Those that are among the first so many, whoever comes first of those that are equal."""
    if len(ordered) <= limit:
        return list(ordered)
    beyond = order(ordered[limit])
    return [file for file in ordered[:limit] if order(file) < beyond]


__all__ = ["BatchId", "QueueModel", "surely"]
