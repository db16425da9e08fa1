"""What users and messages do: hand in, finish, cancel, retry, prune, be told."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.contract.model.base import (
    BATCHES,
    CATEGORIES,
    CODES,
    PROFILE,
    SOURCES,
    Side,
    a_batch,
    a_crew,
)
from tests.contract.model.queue import surely
from tests.contract.model.records import ModelNotification
from worker.core.lifecycle import FileState
from worker.core.model.batches import BatchOptions, NewBatch
from worker.core.model.files import UploadState
from worker.core.model.fleet import Notification
from worker.core.model.ids import BatchId, Crew
from worker.core.seen import Narrow, UploadCounts

NOTIFY = {"task": "done"}
AGES = [0.0, 100.0, 1000.0]
STATES = [state for state in FileState if state.is_terminal]

a_new_batch = st.builds(
    NewBatch,
    a_batch,
    st.just(PROFILE),
    a_crew,
    options=st.builds(BatchOptions, st.sampled_from([None, *CATEGORIES])),
    notify=st.sampled_from([None, NOTIFY]),
    after=st.sampled_from(["leave", "leave", "delete"]),
)
a_code = st.sampled_from(CODES)
some_states = st.just(set(STATES)) | st.sets(st.sampled_from(STATES), min_size=1)
some_sources = st.lists(st.sampled_from(SOURCES), min_size=1, max_size=4)
a_narrowing = st.builds(
    Narrow,
    st.sampled_from(
        [frozenset(), frozenset(), frozenset(CODES[:1]), frozenset({*CODES, "poison"})]
    ),
    st.sampled_from([None, None, *CATEGORIES]),
    st.sampled_from([0.0, 0.0, 60.0]),
)


class HandIn(Side):
    """Rules about whole batches."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries: list[tuple[int, ModelNotification]] = []

    # --- handing in ---

    @initialize(new=a_new_batch, sources=some_sources)
    def begin(self, new: NewBatch, sources: list[str]) -> None:
        self.hand_in(new, sources)

    @rule(new=a_new_batch, sources=some_sources)
    def hand_in(self, new: NewBatch, sources: list[str]) -> None:
        """As one message does it."""
        self._create(new)
        self._add(new.id, sources, None, force=False)
        self._seal(new.id)

    def hand_in_by_pieces(self, data: st.DataObject) -> None:
        self.do_one(data, self.create, self.reject, self.add_files, self.seal, self.record_part)

    def create(self, data: st.DataObject) -> None:
        self._create(data.draw(a_new_batch, "batch"))

    def _create(self, new: NewBatch) -> None:
        self.both(lambda: self.store.create_batch(new), lambda: self.model.create_batch(new))

    def reject(self, data: st.DataObject) -> None:
        new = data.draw(a_new_batch, "batch")
        self.both(lambda: self.store.reject(new, "why"), lambda: self.model.reject(new, "why"))

    def add_files(self, data: st.DataObject) -> None:
        batch, sources = data.draw(st.tuples(a_batch, some_sources), "batch")
        crew = data.draw(st.none() | a_crew, "crew")
        self._add(batch, sources, crew, force=data.draw(st.booleans(), "force"))

    def _add(self, batch: BatchId, sources: list[str], crew: Crew | None, *, force: bool) -> None:
        self.both(
            lambda: self.store.add_files(batch, sources, crew, force=force),
            lambda: self.model.add_files(batch, sources, crew, force=force),
        )

    def seal(self, data: st.DataObject) -> None:
        self._seal(data.draw(a_batch, "batch"))

    def _seal(self, batch: BatchId) -> None:
        self.both(lambda: self.store.seal(batch), lambda: self.model.seal(batch))

    def record_part(self, data: st.DataObject) -> None:
        batch, part = data.draw(a_batch, "batch"), data.draw(st.integers(0, 1), "part")
        parts, name = data.draw(st.integers(1, 2), "parts"), data.draw(st.sampled_from(["", "x"]))
        self.both(
            lambda: self.store.record_part(batch, part, parts, name),
            lambda: self.model.record_part(batch, part, parts, name),
        )

    # --- the end ---

    @precondition(lambda self: self.model.batches)
    @rule()
    def sweep(self) -> None:
        found = self.store.unfinished()
        assert len(found) == len(set(found))
        assert set(found) == self.model.unfinished()
        self._finish(found)

    def _finish(self, batches: list[BatchId]) -> None:
        self.both(lambda: self.store.finish(batches), lambda: self.model.finish(batches))

    # --- all files of a batch ---

    @precondition(lambda self: self.model.files)
    @rule(data=st.data())
    def a_user_steps_in(self, data: st.DataObject) -> None:
        self.do_one(data, self.cancel, self.hand_over, self.fail_open, self.finish_some)

    def cancel(self, data: st.DataObject) -> None:
        batch = data.draw(a_batch, "batch")
        self.both(lambda: self.store.cancel(batch), lambda: self.model.cancel(batch))

    def hand_over(self, data: st.DataObject) -> None:
        batch, crew = data.draw(st.tuples(a_batch, a_crew), "batch and crew")
        self.both(
            lambda: self.store.hand_over(batch, crew), lambda: self.model.hand_over(batch, crew)
        )

    def fail_open(self, data: st.DataObject) -> None:
        crew, code = data.draw(st.tuples(a_crew, a_code), "crew and code")
        touched = self.store.fail_open(crew, code, "words")
        assert sorted(touched) == sorted(self.model.fail_open(crew, code))

    def finish_some(self, data: st.DataObject) -> None:
        self._finish(data.draw(st.lists(a_batch, max_size=3), "batches"))

    @precondition(lambda self: self.ended)
    @rule(batch=a_batch, crew=a_crew, states=some_states, narrow=a_narrowing)
    def retry(self, batch: BatchId, crew: Crew, states: set[FileState], narrow: Narrow) -> None:
        self.both(
            lambda: self.store.retry(batch, states, crew, narrow),
            lambda: self.model.retry(batch, states, crew, narrow),
        )
        opened = {file.id for file in self.model.files.values() if file.is_open}
        self.ended = {key: state for key, state in self.ended.items() if key not in opened}

    # --- upkeep ---

    def prune(self, data: st.DataObject) -> None:
        batch, age = data.draw(st.tuples(a_batch, st.sampled_from(AGES)), "batch and age")
        emptied = data.draw(st.booleans(), "contents only")
        found = self.store.prunable(age, contents_only=emptied)
        assert {each.batch_id for each in found} == self.model.prunable(age, contents_only=emptied)
        self.both(
            lambda: self.store.prune(batch, age, contents_only=emptied),
            lambda: self.model.prune(batch, age, contents_only=emptied),
        )

    def take_away(self, data: st.DataObject) -> None:
        assert {each.file for each in self.store.leftovers(100)} == self.model.leftovers()
        if self.model.files:
            file = data.draw(st.sampled_from(sorted(self.model.files)), "file")
            self.store.taken_away(file)
            self.model.taken_away(file)

    def look(self, data: st.DataObject) -> None:
        """Every file in its turn, each with what the model knows of it."""
        batch = data.draw(a_batch, "batch")
        if batch not in self.model.batches:
            return
        seen = [
            (line.file_id, line.state, line.parse_content, line.upload_attempts, line.polls)
            for line in self.store.results(batch)
        ]
        assert seen == [
            (file.id, file.state, file.result, file.upload_attempts, file.polls)
            for file in self.model.files_of(batch)
        ]
        assert self.store.details(batch).uploads == self.upload_counts(batch)

    def upload_counts(self, batch: BatchId) -> UploadCounts:
        """The batch's whole ledger, counted."""
        ledgers = [
            Counter(upload.state for upload in file.ledger) for file in self.model.files_of(batch)
        ]
        counts = sum(ledgers, Counter())
        taken = (each[UploadState.ACCEPTED] + each[UploadState.UNKNOWN] for each in ledgers)
        return UploadCounts(
            accepted=counts[UploadState.ACCEPTED],
            refused=counts[UploadState.REFUSED],
            unknown=counts[UploadState.UNKNOWN],
            repeated=sum(number - 1 for number in taken if number),
        )

    # --- notifications ---

    def notify(self, data: st.DataObject) -> None:
        things = [self.claim_notifications, self.claim_notifications, self.look_and_replay]
        self.do_one(data, *things, *([self.tell_of_delivery] * 2 if self.deliveries else []))

    def claim_notifications(self, data: st.DataObject) -> None:
        limit, due = data.draw(st.integers(1, 2), "limit"), self.model.notifications_due()
        assert self.store.notifications_due() is bool(due)
        ids = dict(zip(self.world.notifications(), self.model.outbox, strict=True))
        got = self.store.claim_notifications(limit, 60)
        chosen = [ids[each.id] for each in got]
        assert len(chosen) == min(limit, len(due))
        assert all(each in due for each in chosen)
        assert all(each in chosen for each in surely(due, lambda each: each.next_at, limit))
        for each, known in zip(got, chosen, strict=True):
            _check_payload(each, known)
            known.next_at = self.model.after(60)
            self.deliveries.append((each.id, known))

    def tell_of_delivery(self, data: st.DataObject) -> None:
        key, known = data.draw(st.sampled_from(self.deliveries[-3:]), "delivery")
        if data.draw(st.booleans(), "delivered"):
            self.store.notified(key)
            self.model.attempted(known, None, delivered=True)
            return
        wait = data.draw(st.sampled_from([None, 30.0]), "wait")
        self.store.notify_later(key, wait, "words")
        at = None if wait is None else self.model.after(wait)
        self.model.attempted(known, at, delivered=False)

    def look_and_replay(self, data: st.DataObject) -> None:
        said = [(each.due_in is None, each.attempts) for each in self.store.undelivered()]
        known = [each for each in self.model.outbox if each.next_at or each.dead]
        assert said[::-1] == [(each.next_at is None, each.attempts) for each in known]
        self.both(self.store.replay, self.model.replay)


def _check_payload(each: Notification, known: ModelNotification) -> None:
    assert each.batch_id == known.batch_id in BATCHES
    assert each.attempts == known.attempts
    data = each.payload["data"]
    assert (data["state"], data["counts"]) == (known.state, known.counts)
    assert data["total"] == sum(known.counts.values())
