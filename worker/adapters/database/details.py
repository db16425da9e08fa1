"""What `status` tells about one batch beyond its counts: who attends to it, and what holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, or_, select

from worker.adapters.database.attendants import living
from worker.adapters.database.breakers import open_breakers
from worker.adapters.database.engine.runlock import is_locked
from worker.adapters.database.engine.transaction import Repository, Transaction, reads
from worker.adapters.database.ready_times import sketches_of
from worker.adapters.database.reasons import UNSUCCESSFUL
from worker.adapters.database.status import status_of
from worker.adapters.database.tables import files, outbox, service_state, uploads
from worker.core.ledger import ACCEPTED_ONCE
from worker.core.lifecycle import BatchState, FileState
from worker.core.model.batches import BatchStatus
from worker.core.model.files import UploadState
from worker.core.model.ids import BatchId, Crew, FileId, is_run
from worker.core.outlook import time_left, usual_times
from worker.core.ready_times import Sketch
from worker.core.seen import AttendedBy, BatchDetails, Flight, Flying, UploadCounts
from worker.core.slowness import slow_files

_TAKEN = (UploadState.ACCEPTED.value, UploadState.UNKNOWN.value)
"""Uploads that the service has, or may have."""

_NOT_ACCEPTED = (UploadState.REFUSED.value, UploadState.UNKNOWN.value)

_LOOKED_AT = 50
"""Files that are compared with their kind: the oldest ones at the service; or the newest."""


class DetailStore(Repository):
    """A closer look at one batch."""

    def details(self, batch: BatchId) -> BatchDetails:
        """Who attends to it, what went wrong, what was uploaded, how long it will still take."""
        found = self._details(batch)
        if found.attended_by == "run" and not is_locked(self._database.url):
            return found.unattended()  # it was killed: its word is good for some seconds more
        return found

    @reads
    def _details(self, tx: Transaction, batch: BatchId) -> BatchDetails:
        return details_of(tx, status_of(tx, batch))


def details_of(tx: Transaction, status: BatchStatus) -> BatchDetails:
    """The details, in the caller's transaction; a run's word that it lives is believed."""
    batch = status.batch_id
    running = status.state is BatchState.RUNNING
    attended_by, workers = _attended(tx, status.crew) if running else ("nobody", 0)
    waiting, dead = _notifications(tx, batch)
    flight = _flight(tx, status) if running else None
    known = sketches_of(tx, status.profile) if running else {}
    return BatchDetails(
        attended_by=attended_by,
        workers=workers,
        errors=_errors(tx, batch),
        uploads=_uploads(tx, status),
        flight=flight,
        slow=() if flight is None else tuple(slow_files(_oldest(tx, batch), known)),
        eta=_eta(tx, status, flight, known.values()) if running else None,
        held_for=_held_for(tx, status),
        breakers=tuple(open_breakers(tx, status.profile)) if running else (),
        notifications_waiting=waiting,
        notifications_dead=dead,
    )


def _attended(tx: Transaction, crew: Crew) -> tuple[AttendedBy, int]:
    alive = living(tx)
    if is_run(crew):
        return ("run" if any(one.crew == crew for one in alive) else "nobody"), 0
    workers = sum(one.crew is None for one in alive)
    return ("workers" if workers else "nobody"), workers


def _errors(tx: Transaction, batch: UUID) -> dict[str, int]:
    number = func.count().label("number")
    counted = (
        select(files.c.error_code, number)
        .where(
            files.c.batch_id == batch,
            files.c.state.in_(UNSUCCESSFUL),
            files.c.error_code.is_not(None),
        )
        .group_by(files.c.error_code)
        .order_by(number.desc(), files.c.error_code)
    )
    return {row.error_code: row.number for row in tx.run(counted)}


_OTHERWISE = tuple(state.value for state in FileState if state not in ACCEPTED_ONCE)
_AGAIN = or_(
    files.c.upload_attempts > 1,
    and_(files.c.upload_attempts == 1, files.c.reused_from.is_not(None)),
)
_ONCE = and_(
    files.c.upload_attempts == 1,
    files.c.reused_from.is_(None),
    files.c.state.in_(_OTHERWISE),
)


def _uploads(tx: Transaction, status: BatchStatus) -> UploadCounts:
    """What became of the uploads.

    The files' own rows count those that ended. The ledger, several times as large, is asked only
    about the files of which it may know more than that their one upload was accepted.
    """
    counted: Any = tx.run(
        select(
            func.coalesce(func.sum(files.c.upload_attempts), 0).label("ended"),
            func.coalesce(func.sum(case((_AGAIN, 1), else_=0)), 0).label("again"),
        ).where(files.c.batch_id == status.batch_id)
    ).one()
    ended, lost = int(counted.ended), Counter[str]()
    if counted.again:
        lost += _not_accepted(tx, status.batch_id, _AGAIN)
    if any(state not in ACCEPTED_ONCE for state in status.counts):
        lost += _not_accepted(tx, status.batch_id, _ONCE)
    return UploadCounts(
        accepted=ended - lost.total(),
        refused=lost[UploadState.REFUSED],
        unknown=lost[UploadState.UNKNOWN],
        repeated=_repeated(tx, status.batch_id) if counted.again else 0,
    )


def _not_accepted(tx: Transaction, batch: UUID, which: ColumnElement[bool]) -> Counter[str]:
    by_state = (
        select(uploads.c.state, func.count().label("number"))
        .select_from(files.join(uploads, uploads.c.file_id == files.c.id))
        .where(files.c.batch_id == batch, which, uploads.c.state.in_(_NOT_ACCEPTED))
        .group_by(uploads.c.state)
    )
    return Counter({row.state: row.number for row in tx.run(by_state)})


def _repeated(tx: Transaction, batch: UUID) -> int:
    again = (
        select((func.count() - 1).label("extra"))
        .select_from(files.join(uploads, uploads.c.file_id == files.c.id))
        .where(files.c.batch_id == batch, files.c.upload_attempts > 1, uploads.c.state.in_(_TAKEN))
        .group_by(uploads.c.file_id)
        .having(func.count() > 1)
        .subquery()
    )
    return int(tx.run(select(func.coalesce(func.sum(again.c.extra), 0))).scalar_one())


def _flight(tx: Transaction, status: BatchStatus) -> Flight | None:
    """The files at the service; looked at only where there are some."""
    count = status.counts.get(FileState.POLLING)
    if not count:
        return None
    newest = (
        select(files.c.submitted_at, files.c.deadline_at)
        .where(files.c.batch_id == status.batch_id, files.c.state == FileState.POLLING.value)
        .order_by(files.c.submitted_at.desc())
        .limit(_LOOKED_AT)
    )
    # Whoever was submitted last has the last deadline, but for retries: good enough to foretell.
    rows = [row for row in tx.run(newest) if row.submitted_at is not None]
    if not rows:
        return None
    deadlines = [row.deadline_at for row in rows if row.deadline_at is not None]
    return Flight(count, tx.since(rows[0].submitted_at), tx.until(max(deadlines, default=None)))


def _oldest(tx: Transaction, batch: UUID) -> list[Flying]:
    """The files that the service has had longest, the oldest first."""
    oldest = (
        select(files.c.id, files.c.name, files.c.category, files.c.size, files.c.submitted_at)
        .where(files.c.batch_id == batch, files.c.state == FileState.POLLING.value)
        .order_by(files.c.submitted_at)
        .limit(_LOOKED_AT)
    )
    return [
        Flying(FileId(row.id), row.name, row.category or "", row.size, tx.since(row.submitted_at))
        for row in tx.run(oldest)
        if row.submitted_at is not None
    ]


def _eta(
    tx: Transaction, status: BatchStatus, flight: Flight | None, known: Iterable[Sketch]
) -> tuple[float, float] | None:
    if not status.sealed or status.profile_state == "paused":
        return None
    ended = sum(count for state, count in status.counts.items() if state.is_terminal)
    flying = 0 if flight is None else flight.count
    return time_left(
        waiting=status.total - ended - flying,
        done=ended,
        elapsed=tx.since(status.started_at),
        flight=flight,
        usual=usual_times(known),
    )


def _held_for(tx: Transaction, status: BatchStatus) -> float | None:
    """Seconds until the last freeze of the profile is over, None when it is not frozen."""
    frozen = select(func.max(service_state.c.frozen_until)).where(
        service_state.c.profile == status.profile
    )
    until = tx.run(frozen).scalar_one()
    return tx.until(until) or None


def _notifications(tx: Transaction, batch: UUID) -> tuple[int, int]:
    counted = select(
        func.count(outbox.c.next_at).label("waiting"), func.count(outbox.c.dead_at).label("dead")
    )
    row = tx.run(counted.where(outbox.c.batch_id == batch)).one()
    return row.waiting, row.dead
