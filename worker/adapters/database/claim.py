"""Taking files in hand: one lease and one fence token for all rows of a claim.

The three databases differ in how two claimers keep out of each other's way. PostgreSQL and
MariaDB pass over rows that somebody else has locked (SKIP LOCKED); SQLite has one writer, whose
transaction began with the write lock. From there on it is the same: read the first rows of the
index, decide, mark them by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    Row,
    Select,
    Update,
    and_,
    bindparam,
    case,
    literal_column,
    or_,
    select,
    update,
)

from worker.adapters.database import gates
from worker.adapters.database.engine import Kind
from worker.adapters.database.gates import Gate
from worker.adapters.database.rows import among, event, ledger_of
from worker.adapters.database.tables import LATER, POLL, READY, batches, file_events, files
from worker.adapters.database.transaction import Database, Repository, Transaction, writes
from worker.core.lifecycle import FileState, Lane
from worker.core.model import (
    BatchId,
    BatchOptions,
    Claim,
    ClaimedFile,
    Crew,
    ErrorNote,
    FileId,
    LeaseToken,
    LedgerEntry,
    UploadId,
    UploadState,
)
from worker.core.rules import CLAIM_AHEAD
from worker.errors import Channel

ALONE_AFTER = 2
"""Deaths after which a file is claimed alone, so that it takes no innocent file with it."""

POISON_AFTER = 4
"""Deaths after which a file is not tried again."""

_PROMOTED = 1000
_OPTIONS_KEPT = 1000

CHANNELS: dict[Lane, Channel] = {Lane.SUBMIT: "upload", Lane.POLL: "status"}
_POISON = ErrorNote("poison", f"its worker died {POISON_AFTER} times while it held this file")

_NEEDED = (
    "id batch_id source name state lease_token deaths attempts_used failures polls size"
    " category chatflow_file_id service_status parsed created_at submitted_at asked_at deadline_at"
    " next_at"
)
_COLUMNS = [column for column in files.c if column.name in set(_NEEDED.split())]


# --- statements: lanes stand in their text, where the planner can match the partial indexes ------


def _in_lane(lane: str) -> Any:
    return and_(files.c.lane == literal_column(f"'{lane}'"), files.c.crew == bindparam("crew"))


def _by_index(statement: Select[Any], name: str) -> Select[Any]:
    # MariaDB locks what it reads: reading by another index and sorting would lock everything.
    hint = f"FORCE INDEX ({name})"
    return statement.with_hint(files, hint, "mysql").with_hint(files, hint, "mariadb")


def _locking(statement: Select[Any], index: str) -> Select[Any]:
    return _by_index(statement, index).limit(bindparam("limit")).with_for_update(skip_locked=True)


_DUE = files.c.next_at <= bindparam("now")
# A lease is never cut short: what somebody holds is due when it has ended, and not before.
_DUE_SOON = and_(files.c.next_at <= bindparam("soon"), or_(files.c.lease_token.is_(None), _DUE))
_CANDIDATES = {
    Lane.SUBMIT: _locking(
        select(*_COLUMNS).where(_in_lane(READY)).order_by(files.c.turn), "ix_files_ready"
    ),
    Lane.POLL: _locking(
        select(*_COLUMNS).where(_in_lane(POLL), _DUE_SOON).order_by(files.c.next_at),
        "ix_files_due",
    ),
}
_COMING_DUE = _locking(
    select(files.c.id).where(_in_lane(LATER), _DUE).order_by(files.c.next_at), "ix_files_due"
)
_NEXT = {
    lane: _by_index(
        select(files.c.next_at).where(_in_lane(lane)).order_by(files.c.next_at).limit(1),
        "ix_files_due",
    )
    for lane in (READY, LATER, POLL)
}


@cache
def _promote(kind: Kind) -> Update:
    return update(files).where(among(kind, files.c.id, "ids")).values(lane=READY)


@cache
def _take(kind: Kind, lane: Lane) -> Update:
    marks: list[tuple[Any, Any]] = [
        # First the deaths: MariaDB assigns from left to right, and they look at the old token.
        (files.c.deaths, files.c.deaths + case((files.c.lease_token.is_(None), 0), else_=1)),
        (files.c.lease_token, bindparam("token")),
        (files.c.lease_until, bindparam("until")),
        (files.c.next_at, bindparam("until")),
    ]
    if lane is Lane.SUBMIT:
        marks += [(files.c.state, FileState.SUBMITTING.value), (files.c.lane, LATER)]
    return update(files).where(among(kind, files.c.id, "ids")).ordered_values(*marks)


@cache
def _options(kind: Kind) -> Select[Any]:
    chosen = select(batches.c.id, batches.c.category, batches.c.inputs)
    return chosen.where(among(kind, batches.c.id, "ids"))


# --- the claim -----------------------------------------------------------------------------------


class ClaimStore(Repository):
    """Claims."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._known_options: dict[UUID, BatchOptions] = {}

    @writes
    def claim(
        self, tx: Transaction, profile: str, crew: Crew, lane: Lane, limit: int, lease: float
    ) -> Claim:
        """Take up to `limit` due files of a crew under a lease of `lease` seconds."""
        gate = gates.look(tx, profile, CHANNELS[lane])
        if gate.state == "thawing":
            gate = gates.look_locked(tx, profile, CHANNELS[lane])
        if gate.state in {"paused", "frozen"} or gate.wait > 0:
            return Claim(next_wait=_held_wait(tx, crew, lane, gate))
        probing = gate.state == "thawing"
        return self._claimed(tx, profile, crew, lane, 1 if probing else limit, lease, probing)

    def _claimed(
        self,
        tx: Transaction,
        profile: str,
        crew: Crew,
        lane: Lane,
        limit: int,
        lease: float,
        probing: bool,  # noqa: FBT001
    ) -> Claim:
        rows = _chosen(tx, crew, lane, limit)
        if not rows:
            return Claim(next_wait=next_wait(tx, crew, lane))
        token = LeaseToken(uuid4())
        _mark(tx, rows, lane, token, tx.after(lease))
        if probing:
            gates.take_probe(tx, profile, CHANNELS[lane], token)
        return Claim(self._in_hand(tx, rows, lane, token), token, 0.0, probing)

    def _in_hand(
        self, tx: Transaction, rows: Sequence[Row[Any]], lane: Lane, token: LeaseToken
    ) -> tuple[ClaimedFile, ...]:
        options = self._options_of(tx, {row.batch_id for row in rows})
        ledger = ledger_of(tx, [row.id for row in rows]) if lane is Lane.SUBMIT else {}
        return tuple(
            _claimed_file(tx, row, lane, token, options[row.batch_id], ledger.get(row.id))
            for row in rows
        )

    def _options_of(self, tx: Transaction, ids: set[UUID]) -> dict[UUID, BatchOptions]:
        """A batch's options never change, so each process asks for them once."""
        known = self._known_options
        if missing := [batch for batch in ids if batch not in known]:
            if len(known) > _OPTIONS_KEPT:
                self._known_options = known = {b: known[b] for b in ids if b in known}
            for row in tx.run(_options(tx.kind), {"ids": missing}):
                known[row.id] = BatchOptions(row.category, row.inputs)
        return {batch: known[batch] for batch in ids}


def _chosen(tx: Transaction, crew: Crew, lane: Lane, limit: int) -> list[Row[Any]]:
    if lane is Lane.SUBMIT:
        _promote_due(tx, crew)
    while True:
        values = {"crew": crew, "limit": limit, "now": tx.now, "soon": tx.after(CLAIM_AHEAD)}
        rows = list(tx.run(_CANDIDATES[lane], values).all())
        poisoned = [row for row in rows if _deaths(row) >= POISON_AFTER]
        if not poisoned:
            return _safe_together(rows)
        _bury(tx, poisoned)


def _promote_due(tx: Transaction, crew: Crew) -> None:
    """Put what came due back among the rows that are taken by turn."""
    values = {"crew": crew, "limit": _PROMOTED, "now": tx.now}
    if ids := list(tx.run(_COMING_DUE, values).scalars()):
        tx.run(_promote(tx.kind), {"ids": ids})


def _deaths(row: Row[Any]) -> int:
    """A lease that is still on the row when it is due again ran out: its holder died or froze."""
    return int(row.deaths) + (row.lease_token is not None)


def _safe_together(rows: list[Row[Any]]) -> list[Row[Any]]:
    if rows and _deaths(rows[0]) >= ALONE_AFTER:
        return rows[:1]
    return [row for row in rows if _deaths(row) < ALONE_AFTER]


def _bury(tx: Transaction, rows: Sequence[Row[Any]]) -> None:
    ended = {
        "state": FileState.FAILED.value,
        "lane": None,
        "next_at": None,
        "lease_token": None,
        "lease_until": None,
        "finished_at": tx.now,
        "error_code": _POISON.code,
        "error_message": _POISON.message,
    }
    tx.update(files, [{"id": row.id, "deaths": _deaths(row), **ended} for row in rows])
    failed = FileState.FAILED.value
    tx.insert(file_events, [event(row.id, tx.now, failed, failed, _POISON) for row in rows])


def _mark(
    tx: Transaction, rows: Sequence[Row[Any]], lane: Lane, token: UUID, until: datetime
) -> None:
    values = {"ids": [row.id for row in rows], "token": token, "until": until}
    tx.run(_take(tx.kind, lane), values)
    happened = [event(row.id, tx.now, "lease_lost", row.state) for row in rows if row.lease_token]
    if lane is Lane.SUBMIT:
        now_is = FileState.SUBMITTING.value
        happened += [event(row.id, tx.now, now_is, now_is) for row in rows if row.state != now_is]
    if happened:
        tx.insert(file_events, happened)


def _claimed_file(
    tx: Transaction,
    row: Row[Any],
    lane: Lane,
    token: LeaseToken,
    options: BatchOptions,
    ledger: Sequence[Row[Any]] | None,
) -> ClaimedFile:
    polled = lane is Lane.POLL
    at = max(tx.now, row.next_at) if polled else tx.now  # when it will be asked for
    since = row.submitted_at if polled else row.created_at
    return ClaimedFile(
        id=FileId(row.id),
        batch_id=BatchId(row.batch_id),
        token=token,
        source=row.source,
        name=row.name,
        state=FileState(row.state),
        options=options,
        upload_attempts=row.attempts_used,
        failures=row.failures,
        polls=row.polls,
        age=max(0.0, (at - since).total_seconds()) if since else 0.0,
        asked_age=_asked_age(row),
        due_in=(at - tx.now).total_seconds(),
        expired=row.deadline_at is not None and row.deadline_at <= at,
        deadline_in=(row.deadline_at - at).total_seconds() if row.deadline_at else None,
        parsed=row.parsed,
        deaths=_deaths(row),
        size=row.size,
        category=row.category,
        chatflow_file_id=row.chatflow_file_id,
        service_status=row.service_status,
        last_upload=_entry(row, _telling(ledger)) if ledger else None,
    )


def _asked_age(row: Row[Any]) -> float:
    if row.asked_at is None or row.submitted_at is None:
        return 0.0
    return float(max(0.0, (row.asked_at - row.submitted_at).total_seconds()))


def _telling(ledger: Sequence[Row[Any]]) -> Row[Any]:
    """The upload that decides what a file needs.

    That is the newest one, unless the service took an earlier one in spite of which another was
    begun: its reply came too late to stop that, and counts now that the other came to nothing.
    """
    if ledger[-1].state == UploadState.SENT:
        return ledger[-1]
    taken = (row for row in reversed(ledger) if row.state == UploadState.ACCEPTED)
    return next(taken, ledger[-1])


def _entry(file: Row[Any], upload: Row[Any]) -> LedgerEntry:
    theirs = upload.chatflow_file_id
    status = file.service_status if theirs and theirs == file.chatflow_file_id else None
    return LedgerEntry(UploadId(upload.id), UploadState(upload.state), theirs, status)


# --- when to come again --------------------------------------------------------------------------


def next_wait(tx: Transaction, crew: Crew, lane: Lane) -> float | None:
    """Seconds until the lane's next row is due, None when the crew has no row in it."""
    moments = [
        row.next_at
        for name in ((READY, LATER) if lane is Lane.SUBMIT else (POLL,))
        for row in tx.run(_NEXT[name], {"crew": crew})
    ]
    return min(map(tx.until, moments), default=None)


def _held_wait(tx: Transaction, crew: Crew, lane: Lane, gate: Gate) -> float | None:
    wait = next_wait(tx, crew, lane)
    return None if wait is None else max(wait, gate.wait)
