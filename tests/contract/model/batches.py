"""The model of batches: handing in, finishing, and what a user does to all files of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from tests.contract.model.records import (
    ENDED_BADLY,
    RETRIED,
    ModelBatch,
    ModelFile,
    ModelNotification,
    ModelUpload,
)
from worker.core.lifecycle import BatchState, FileState
from worker.core.model.batches import NewBatch
from worker.core.model.files import UploadState
from worker.core.model.ids import BatchId, Crew, FileId
from worker.core.seen import Narrow
from worker.errors import UnknownBatch

STILL_COMING = 120
USUAL_DEADLINE = 3600


class BatchModel:
    """Batches, files and notifications, as dictionaries."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.batches: dict[BatchId, ModelBatch] = {}
        self.files: dict[FileId, ModelFile] = {}
        self.outbox: list[ModelNotification] = []

    def after(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    def known(self, batch: BatchId) -> ModelBatch:
        if batch not in self.batches:
            raise UnknownBatch(f"no batch {batch}")
        return self.batches[batch]

    def files_of(self, batch: BatchId) -> list[ModelFile]:
        mine = (file for file in self.files.values() if file.batch_id == batch)
        return sorted(mine, key=lambda file: file.turn)

    def open_files(self, batch: BatchId) -> list[ModelFile]:
        return [file for file in self.files_of(batch) if file.is_open]

    def counts(self, batch: BatchId) -> dict[FileState, int]:
        return dict(Counter(file.state for file in self.files_of(batch)))

    # --- handing in ---

    def create_batch(self, new: NewBatch) -> bool:
        known = self.batches.get(new.id)
        if known is not None and known.state is not BatchState.REJECTED:
            return False
        parts = {} if known is None else known.parts
        self.batches[new.id] = self._new(new)
        self.batches[new.id].parts = parts
        return True

    def reject(self, new: NewBatch, reason: str) -> bool:
        if new.id in self.batches:
            return False
        batch = self.batches[new.id] = self._new(new)
        batch.sealed, batch.reason = True, reason
        self._stamp(batch, BatchState.REJECTED)
        return True

    def _new(self, new: NewBatch) -> ModelBatch:
        notify, category = new.notify is not None, new.options.category
        return ModelBatch(new.id, new.crew, category, notify, new.after, self.now)

    def add_files(
        self, batch: BatchId, sources: Sequence[str], crew: Crew | None, *, force: bool
    ) -> int:
        row = self.known(batch)
        ids = {FileId(uuid5(batch, source)): source for source in sources}
        new = {key: source for key, source in ids.items() if key not in self.files}
        if not new:
            return 0
        row.crew = crew or row.crew
        cancelled = row.state is BatchState.CANCELLED
        after = None if row.after_rule == "leave" else row.after_rule
        for key, source in new.items():
            file = self.files[key] = ModelFile(
                key, batch, row.next_turn, row.crew, source, self.now, self.now, force, after
            )
            row.next_turn += 1
            if cancelled:
                self.end(file, FileState.CANCELLED, None)
        row.state = BatchState.CANCELLED if cancelled else BatchState.RUNNING
        row.finished_at = None
        return len(new)

    def seal(self, batch: BatchId) -> None:
        self.known(batch).sealed = True

    def record_part(self, batch: BatchId, part: int, parts: int, hand_in: str) -> None:
        row = self.known(batch)
        key = hand_in or f"of {parts}"
        new = (key, part) not in row.parts
        row.parts.setdefault((key, part), parts)
        if sum(of == parts and name == key for (name, _), of in row.parts.items()) >= parts:
            row.sealed = True
        elif new:
            row.sealed = False

    # --- the end of a batch ---

    def unfinished(self) -> set[BatchId]:
        return {batch.id for batch in self.batches.values() if self._may_finish(batch)}

    def finish(self, batches: Collection[BatchId]) -> list[BatchId]:
        ready = [key for key in sorted(set(batches)) if key in self.unfinished()]
        for key in ready:
            batch = self.batches[key]
            cancelled = batch.state is BatchState.CANCELLED
            self._stamp(batch, BatchState.CANCELLED if cancelled else BatchState.FINISHED)
        return ready

    def _may_finish(self, batch: ModelBatch) -> bool:
        return batch.finished_at is None and batch.sealed and not self.open_files(batch.id)

    def _stamp(self, batch: ModelBatch, state: BatchState) -> None:
        batch.state, batch.finished_at = state, self.now
        if batch.notify:
            counts = {state.value: number for state, number in self.counts(batch.id).items()}
            self.outbox.append(ModelNotification(batch.id, state, counts, self.now))

    # --- all files of a batch ---

    def end(self, file: ModelFile, state: FileState, code: str | None) -> None:
        file.place(state, None, self.now)
        file.error_code = code

    def cancel(self, batch: BatchId) -> int:
        row = self.known(batch)
        if row.state is BatchState.RUNNING:
            row.state = BatchState.CANCELLED
        ended = self.open_files(batch)
        for file in ended:
            self.end(file, FileState.CANCELLED, None)
        if row.state is BatchState.CANCELLED and row.finished_at is None:
            self._stamp(row, BatchState.CANCELLED)
        return len(ended)

    def fail_open(self, crew: Crew, code: str) -> set[BatchId]:
        mine = [file for file in self.files.values() if file.crew == crew and file.is_open]
        for file in mine:
            self.end(file, FileState.FAILED, code)
        return {file.batch_id for file in mine}

    def hand_over(self, batch: BatchId, crew: Crew) -> int:
        row = self.known(batch)
        if row.state is BatchState.RUNNING:
            row.crew = crew
        opened = self.open_files(batch)
        for file in opened:
            waits = file.state is FileState.POLLING and file.lease_token is None
            state = FileState.POLLING if file.state is FileState.POLLING else FileState.QUEUED
            file.place(state, file.next_at if waits else None, self.now)
            file.crew = crew
        return len(opened)

    def retry(
        self, batch: BatchId, states: Collection[FileState], crew: Crew, narrow: Narrow
    ) -> int:
        row = self.known(batch)
        chosen = [
            file
            for file in self.files_of(batch)
            if file.state in states
            and file.state in RETRIED
            and narrow.takes(file.error_code, file.category or row.category, self._ended_for(file))
        ]
        for file in chosen:
            self._reopen(file, crew)
        if chosen:
            row.crew, row.state, row.finished_at = crew, BatchState.RUNNING, None
        return len(chosen)

    def _ended_for(self, file: ModelFile) -> float:
        assert file.finished_at is not None
        return (self.now - file.finished_at).total_seconds()

    def _reopen(self, file: ModelFile, crew: Crew) -> None:
        upload = _still_worked_on(file)
        newest = file.ledger[-1] if file.ledger else None
        file.crew, file.error_code, file.waits_for = crew, None, None
        file.attempts_used = file.failures = file.deaths = 0
        if upload is not None:
            file.chatflow_file_id = upload.chatflow_file_id
            file.deadline_at = self.after(file.deadline_seconds or USUAL_DEADLINE)
            file.place(FileState.POLLING, None, self.now)
            return
        file.deadline_at, file.parsed = None, False
        not_before = None
        if newest is not None and newest.state is UploadState.SENT and newest.sent_at is not None:
            not_before = newest.sent_at + timedelta(seconds=STILL_COMING)
        file.place(FileState.QUEUED, not_before, self.now)

    # --- upkeep ---

    def prunable(self, older_than: float, *, contents_only: bool) -> set[BatchId]:
        return {
            batch.id
            for batch in self.batches.values()
            if self._is_over(batch, older_than)
            and (not contents_only or any(file.result for file in self.files_of(batch.id)))
        }

    def _is_over(self, batch: ModelBatch, older_than: float) -> bool:
        ended = batch.finished_at is not None and batch.finished_at <= self.after(-older_than)
        told = not any(n.batch_id == batch.id and n.next_at for n in self.outbox)
        tidy = not any(
            file.after_rule and file.state is FileState.SUCCEEDED
            for file in self.files_of(batch.id)
        )
        return ended and told and tidy

    def prune(self, batch: BatchId, older_than: float, *, contents_only: bool) -> int:
        row = self.batches.get(batch)
        if row is None or not self._is_over(row, older_than):
            return 0
        files = self.files_of(batch)
        if contents_only:
            full = [file for file in files if file.result]
            for file in full:
                file.result = None
            return len(full)
        for file in files:
            del self.files[file.id]
        del self.batches[batch]
        self.outbox = [each for each in self.outbox if each.batch_id != batch]
        return len(files)

    def leftovers(self) -> set[FileId]:
        return set(self._leftovers())

    def _leftovers(self) -> Iterator[FileId]:
        for file in self.files.values():
            if file.after_rule and file.state is FileState.SUCCEEDED:
                yield file.id

    def taken_away(self, file: FileId) -> None:
        if file in self.files:
            self.files[file].after_rule = None

    # --- those that wait ---

    def in_flight(self, file: UUID | None) -> bool:
        found = None if file is None else self.files.get(FileId(file))
        return found is not None and found.state in {FileState.SUBMITTING, FileState.POLLING}


def _still_worked_on(file: ModelFile) -> ModelUpload | None:
    """The upload that `retry` goes on asking about, None when the file is uploaded again."""
    sent = [each for each in file.ledger if each.state is not UploadState.WITHDRAWN]
    if not sent or sent[-1].state is not UploadState.ACCEPTED or not RETRIED[file.state]:
        return None
    asked_about = sent[-1].chatflow_file_id == file.chatflow_file_id
    if asked_about and file.service_status in ENDED_BADLY:
        return sent[-1] if file.state is FileState.TIMED_OUT else None
    return sent[-1]
