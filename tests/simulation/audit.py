"""The end of a story: what the database says, held against what the service was sent and said."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import select

from tests.simulation.fate import Fate
from tests.simulation.service import TroubledService
from tests.simulation.store import Shelf
from worker.adapters.database.tables import (
    batches,
    dialogs,
    file_events,
    files,
    outbox,
    results,
    slots,
    uploads,
)
from worker.core.lifecycle import FileEventName, FileState, ForbiddenTransition, check_step
from worker.core.model.files import UploadState

WITH_RESULT = {FileState.SUCCEEDED, FileState.PARTIAL}
COUNTED = {UploadState.ACCEPTED, UploadState.REFUSED, UploadState.UNKNOWN}


class Books:
    """All rows, by what they belong to."""

    def __init__(self, shelf: Shelf) -> None:
        self.events: dict[UUID, list[Any]] = defaultdict(list)
        self.uploads: dict[UUID, list[Any]] = defaultdict(list)
        with shelf.connection() as connection:
            self.files = connection.execute(select(files)).all()
            self.results = {row.file_id: row for row in connection.execute(select(results))}
            self.batches = connection.execute(select(batches)).all()
            self.outbox = connection.execute(select(outbox)).all()
            self.slots = connection.execute(select(slots)).all()
            self.dialogs = connection.execute(select(dialogs)).all()
            for row in connection.execute(select(file_events).order_by(file_events.c.id)):
                self.events[row.file_id].append(row)
            for row in connection.execute(select(uploads).order_by(uploads.c.attempt)):
                self.uploads[row.file_id].append(row)


def audit(fate: Fate, shelf: Shelf, service: TroubledService, handed_in: list[UUID]) -> list[str]:
    """Everything that is not as it was promised."""
    books = Books(shelf)
    faults = []
    for row in books.files:
        found = [
            *_end(row),
            *_events(row, books.events[row.id]),
            *_ledger(row, books.uploads[row.id], service),
            *_attempts(row, books.uploads[row.id], fate),
            *_result(row, books.results.get(row.id), service),
            *_reason(row, books, service),
        ]
        faults += [f"{row.name}: {fault}" for fault in found]
    faults += _shares(books, shelf)
    faults += _without_cause(books, fate)
    faults += _places(books, service)
    for batch in handed_in:
        faults += _batch(batch, books)
    return faults


# --- a file --------------------------------------------------------------------------------------


def _end(row: Any) -> Iterator[str]:
    if not FileState(row.state).is_terminal:
        yield f"is {row.state} in lane {row.lane}, next {row.next_at}, code {row.error_code}"
    elif row.lane is not None or row.next_at is not None or row.lease_token is not None:
        yield f"is {row.state} and still in a lane or leased"
    elif row.finished_at is None:
        yield f"is {row.state} without the moment"


def _events(row: Any, events: list[Any]) -> Iterator[str]:
    states = [FileState.QUEUED, *(FileState(event.state) for event in events)]
    for old, event, new in zip(states, events, states[1:], strict=False):
        try:
            check_step(old, FileEventName(event.event), new)
        except (ForbiddenTransition, ValueError) as error:
            yield f"{error}: {_told(events)}"
    if states[-1] != row.state:
        yield f"is {row.state}, but its last event says {states[-1]}: {_told(events)}"
    ends = sum(state.is_terminal for state in states)
    if ends != 1:
        yield f"ended {ends} times: {_told(events)}"


def _told(events: list[Any]) -> str:
    return ", ".join(f"{event.event}({event.state})" for event in events)


def _ledger(row: Any, ours: list[Any], service: TroubledService) -> Iterator[str]:
    theirs = {life.id: life for life in service.lives.values() if life.name == row.name}
    told = ", ".join(f"{entry.state}:{entry.chatflow_file_id}" for entry in ours)
    known = {entry.chatflow_file_id for entry in ours if entry.chatflow_file_id}
    unknown = sum(entry.state == UploadState.UNKNOWN for entry in ours)
    if not known <= theirs.keys():
        yield f"ids {known - theirs.keys()} were never given to it"
    if len(theirs.keys() - known) > unknown:
        yield f"{theirs.keys() - known} unexplained: {told}"
    sent = sum(entry.sent_at is not None for entry in ours)
    if service.begun[row.name] > sent:
        yield f"{service.begun[row.name]} uploads begun, {sent} sent by the ledger: {told}"
    if any(entry.state == UploadState.SENT for entry in ours):
        yield f"an upload is left open: {told}"
    for earlier, later in pairwise(ours):
        if earlier.state != UploadState.ACCEPTED or later.sent_at is None:
            continue
        failed = any(status == 3 for _, status in theirs[earlier.chatflow_file_id].said)
        if not failed and earlier.ended_at <= later.sent_at:
            yield f"uploaded again after it was accepted: {told}"


def _attempts(row: Any, ours: list[Any], fate: Fate) -> Iterator[str]:
    told = ", ".join(entry.state for entry in ours)
    if row.upload_attempts != sum(entry.state in COUNTED for entry in ours):
        yield f"{row.upload_attempts} attempts counted, ledger {told}"
    most = fate.rules.max_upload_attempts
    if row.upload_attempts > most:
        yield f"{row.upload_attempts} attempts of {most}, ledger {told}"


def _result(row: Any, result: Any, service: TroubledService) -> Iterator[str]:
    if (result is not None) != (row.state in WITH_RESULT):
        yield f"is {row.state} and has {'a' if result is not None else 'no'} result"
    if result is None:
        return
    life = service.lives.get(row.chatflow_file_id)
    if life is None or life.name != row.name:
        yield f"its result belongs to {row.chatflow_file_id}, no upload of its own"
    elif result.parse_content != life.text:
        yield f"its contents are not what the service said for {life.id}"


def _reason(row: Any, books: Books, service: TroubledService) -> Iterator[str]:
    """The end must follow from what was said and what happened."""
    state = FileState(row.state)
    life = service.lives.get(row.chatflow_file_id)
    said = {status for _, status in life.said} if life else set()
    if not state.is_terminal:
        return
    if state is FileState.FAILED:
        fine = _failed_rightly(row, books, said)
    else:
        fine = {
            FileState.SUCCEEDED: bool(said & {5, 7}),
            FileState.PARTIAL: bool(said & {5, 8}),
            FileState.TIMED_OUT: row.deadline_at is not None and row.finished_at >= row.deadline_at,
            FileState.REJECTED: row.name.endswith("zip"),
        }.get(state, False)
    if not fine:
        yield f"is {state} ({row.error_code}), but said {said}: {_told(books.events[row.id])}"


def _failed_rightly(row: Any, books: Books, said: set[int | None]) -> bool:
    ours = books.uploads[row.id]
    lost = sum(event.event == "lease_lost" for event in books.events[row.id])
    because = {
        "poison": lost >= 3,
        "upload_unknown": any(_unknown_at(row.finished_at, entry) for entry in ours),
        "upload_refused": any(entry.state == UploadState.REFUSED for entry in ours),
        "upload_failed": 3 in said,
        "parse_failed": 6 in said,
        "flow_failed": 8 in said,
        "no_upload_node": True,
    }
    return because.get(row.error_code, False)


def _unknown_at(moment: Any, entry: Any) -> bool:
    """Nobody knew of the upload; its reply may have turned up later."""
    late = entry.state in COUNTED and entry.ended_at >= moment
    return entry.state == UploadState.UNKNOWN or late


# --- the fleet -----------------------------------------------------------------------------------


def _shares(books: Books, shelf: Shelf) -> Iterator[str]:
    now = shelf._now("", "")
    for row in books.slots:
        if str(row.until.replace(tzinfo=None)) > now:
            yield f"{row.holder} still has a share of {row.share}"


def _without_cause(books: Books, fate: Fate) -> Iterator[str]:
    """Where nothing went wrong, nothing needs an excuse."""
    dials = fate.dials
    if fate.killed or fate.frozen or dials.store_away or dials.store_answer_lost:
        return
    lost = [e for events in books.events.values() for e in events if e.event == "lease_lost"]
    if lost:
        yield f"{len(lost)} leases were lost without a cause"
    if dials.reply_lost or dials.fault or dials.unreachable or fate.drained:
        return
    told = [entry for entries in books.uploads.values() for entry in entries]
    if any(entry.state == UploadState.UNKNOWN for entry in told):
        yield "an upload became unknown without a cause"


def _places(books: Books, service: TroubledService) -> Iterator[str]:
    """No dialog session served more files of a category than it has places."""
    most = {"Audio": 2, "Text": 3}
    names = {row.id: row.name for row in books.files}
    used = Counter(
        (entry.dialog_id, entry.category)
        for file, ledger in books.uploads.items()
        for entry in _taking_a_place(ledger, names[file], service)
    )
    for (dialog, category), number in used.items():
        if number > most[category]:
            yield f"dialog {dialog} served {number} of {category}"


def _taking_a_place(ledger: list[Any], name: str, service: TroubledService) -> list[Any]:
    """The uploads that used up a place: one whose refusal nobody could write down used none."""
    known = {entry.chatflow_file_id for entry in ledger}
    unexplained = any(life.name == name and life.id not in known for life in service.lives.values())
    none = {UploadState.WITHDRAWN} if unexplained else {UploadState.WITHDRAWN, UploadState.UNKNOWN}
    return [entry for entry in ledger if entry.sent_at is not None and entry.state not in none]


def _batch(batch: UUID, books: Books) -> Iterator[str]:
    row = next((row for row in books.batches if row.id == batch), None)
    if row is None or row.state != "finished":
        yield f"batch {batch} is {row and row.state}"
        return
    told = [entry for entry in books.outbox if entry.batch_id == batch]
    if len(told) != 1:
        yield f"batch {batch} has {len(told)} notifications"
        return
    counted = Counter(file.state for file in books.files if file.batch_id == batch)
    payload = json.loads(told[0].payload)
    counts = payload.get("data", payload).get("counts", {})
    if {state: number for state, number in counts.items() if number} != dict(counted):
        yield f"batch {batch} told {counts}, has {dict(counted)}"
