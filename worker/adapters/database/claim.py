"""Taking files in hand: one lease and one fence token for all rows of a claim.

The three databases differ in how two claimers keep out of each other's way. PostgreSQL and
MariaDB pass over rows that somebody else has locked (SKIP LOCKED); SQLite has one writer, whose
transaction began with the write lock. From there on it is the same: read the first rows of the
index, decide, mark them by id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Literal, assert_never, overload
from uuid import UUID, uuid4

from sqlalchemy import (
    Row,
    Select,
    and_,
    bindparam,
    literal_column,
    or_,
    select,
)

from worker.adapters.database import gates
from worker.adapters.database.engine.engines import Kind
from worker.adapters.database.engine.transaction import Database, Repository, Transaction, writes
from worker.adapters.database.moves import Moves, promote, take
from worker.adapters.database.rows import among, ledger_of
from worker.adapters.database.tables import LATER, POLL, READY, batches, files
from worker.core.gate import Gate
from worker.core.leases import POISON, deaths, is_poison, safe_together
from worker.core.ledger import Upload, deciding, entry
from worker.core.lifecycle import FileState, Lane
from worker.core.liveness import lease_token
from worker.core.model.batches import BatchOptions
from worker.core.model.files import Claim, PolledFile, QueuedFile
from worker.core.model.ids import Crew, LeaseToken
from worker.core.rules import CLAIM_AHEAD
from worker.errors import Channel

_PROMOTED = 1000
_OPTIONS_KEPT = 1000

CHANNELS: dict[Lane, Channel] = {Lane.SUBMIT: "upload", Lane.POLL: "status"}

_NEEDED = (
    "id batch_id source name state lease_token deaths attempts_used failures polls size"
    " category chatflow_file_id service_status parsed submitted_at asked_at deadline_at"
    " next_at created_at forced"
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
def _options(kind: Kind) -> Select[Any]:
    chosen = select(batches.c.id, batches.c.category, batches.c.inputs)
    return chosen.where(among(kind, batches.c.id, "ids"))


# --- the claim -----------------------------------------------------------------------------------


class ClaimStore(Repository):
    """Claims."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._known_options: dict[UUID, tuple[datetime, BatchOptions]] = {}

    @overload
    def claim(
        self, profile: str, crew: Crew, lane: Literal[Lane.SUBMIT], limit: int, lease: float
    ) -> Claim[QueuedFile]: ...

    @overload
    def claim(
        self, profile: str, crew: Crew, lane: Literal[Lane.POLL], limit: int, lease: float
    ) -> Claim[PolledFile]: ...

    def claim(
        self, profile: str, crew: Crew, lane: Lane, limit: int, lease: float
    ) -> Claim[QueuedFile] | Claim[PolledFile]:
        """Take up to `limit` due files of a crew under a lease of `lease` seconds."""
        return self._claim(profile, crew, lane, limit, lease)

    @writes
    def _claim(
        self, tx: Transaction, profile: str, crew: Crew, lane: Lane, limit: int, lease: float
    ) -> Claim[QueuedFile] | Claim[PolledFile]:
        gate = gates.look(tx, profile, CHANNELS[lane])
        if gate.state == "thawing":
            gate = gates.look_locked(tx, profile, CHANNELS[lane])
        if gate.closed:
            return Claim(next_wait=_held_wait(tx, crew, lane, gate))
        limit = 1 if gate.probing else limit
        return self._claimed(tx, profile, crew, lane, limit, lease, gate.probing)

    def _claimed(
        self,
        tx: Transaction,
        profile: str,
        crew: Crew,
        lane: Lane,
        limit: int,
        lease: float,
        probing: bool,  # noqa: FBT001 - as long as the claim is
    ) -> Claim[QueuedFile] | Claim[PolledFile]:
        rows = _chosen(tx, crew, lane, limit)
        if not rows:
            return Claim(next_wait=next_wait(tx, crew, lane))
        token = lease_token(self._database.holder, uuid4())
        take(tx, rows, lane, token, tx.after(lease))
        if probing:
            gates.take_probe(tx, profile, CHANNELS[lane], token)
        match lane:
            case Lane.SUBMIT:
                return Claim(self._queued(tx, rows, token), token, 0.0, probing)
            case Lane.POLL:
                return Claim(tuple(_polled(tx, row, token) for row in rows), token, 0.0, probing)
            case _:
                assert_never(lane)

    def _queued(
        self, tx: Transaction, rows: Sequence[Row[Any]], token: LeaseToken
    ) -> tuple[QueuedFile, ...]:
        options = self._options_of(tx, rows)
        ledger = ledger_of(tx, [row.id for row in rows])
        return tuple(
            _queued(row, token, options[row.batch_id], ledger.get(row.id, ())) for row in rows
        )

    def _options_of(self, tx: Transaction, rows: Sequence[Row[Any]]) -> dict[UUID, BatchOptions]:
        """What the rows' batches say about them, which each process asks for once.

        A batch's options never change, but one that was pruned may be handed in again with
        others; then its files are younger than what is known.
        """
        known = self._known_options
        ids = {row.batch_id for row in rows}
        missing = {row.batch_id for row in rows if not _knows(known, row)}
        if missing:
            if len(known) > _OPTIONS_KEPT:
                self._known_options = known = {b: known[b] for b in ids if b in known}
            for row in tx.run(_options(tx.kind), {"ids": list(missing)}):
                known[row.id] = (tx.now, BatchOptions(row.category, row.inputs))
        return {batch: known[batch][1] for batch in ids}


def _knows(known: Mapping[UUID, tuple[datetime, BatchOptions]], row: Row[Any]) -> bool:
    return row.batch_id in known and row.created_at < known[row.batch_id][0]


def _chosen(tx: Transaction, crew: Crew, lane: Lane, limit: int) -> Sequence[Row[Any]]:
    if lane is Lane.SUBMIT:
        _promote_due(tx, crew)
    while True:
        values = {"crew": crew, "limit": limit, "now": tx.now, "soon": tx.after(CLAIM_AHEAD)}
        rows = list(tx.run(_CANDIDATES[lane], values).all())
        poisoned = [row for row in rows if is_poison(_deaths(row))]
        if not poisoned:
            return safe_together(rows, _deaths)
        _bury(tx, poisoned)


def _promote_due(tx: Transaction, crew: Crew) -> None:
    """Put what came due back among the rows that are taken by turn."""
    values = {"crew": crew, "limit": _PROMOTED, "now": tx.now}
    if ids := list(tx.run(_COMING_DUE, values).scalars()):
        promote(tx, ids)


def _deaths(row: Row[Any]) -> int:
    return deaths(row.deaths, leased=row.lease_token is not None)


def _bury(tx: Transaction, rows: Sequence[Row[Any]]) -> None:
    moves = Moves(tx)
    ledger = ledger_of(tx, [row.id for row in rows])
    for row in rows:
        known = {"category": row.category, "size": row.size}
        if row.size is None and row.id in ledger:  # nobody lived to tell
            newest = ledger[row.id][-1]
            known = {"category": newest.category, "size": newest.size}
        moves.end(row, FileState.FAILED, POISON, {"deaths": _deaths(row), **known})
    moves.write()


def _common(row: Row[Any], token: LeaseToken) -> dict[str, Any]:
    return {
        "id": row.id,
        "batch_id": row.batch_id,
        "token": token,
        "source": row.source,
        "name": row.name,
        "attempts_used": row.attempts_used,
        "failures": row.failures,
        "deaths": _deaths(row),
        "polls": row.polls,
        "handed_in_at": row.created_at.timestamp(),
    }


def _queued(
    row: Row[Any], token: LeaseToken, options: BatchOptions, ledger: Sequence[Upload]
) -> QueuedFile:
    upload = deciding(ledger)
    known = None if upload is None else entry(upload, row.chatflow_file_id, row.service_status)
    return QueuedFile(
        **_common(row, token), options=options, deciding_upload=known, forced=row.forced
    )


def _polled(tx: Transaction, row: Row[Any], token: LeaseToken) -> PolledFile:
    at = max(tx.now, row.next_at)  # when it will be asked for
    since = row.submitted_at
    return PolledFile(
        **_common(row, token),
        chatflow_file_id=row.chatflow_file_id,
        service_status=row.service_status,
        age=max(0.0, (at - since).total_seconds()) if since else 0.0,
        asked_age=_asked_age(row),
        due_in=(at - tx.now).total_seconds(),
        expired=row.deadline_at is not None and row.deadline_at <= at,
        deadline_in=(row.deadline_at - at).total_seconds() if row.deadline_at else None,
        parsed=row.parsed,
        size=row.size,
        category=row.category,
    )


def _asked_age(row: Row[Any]) -> float:
    if row.asked_at is None or row.submitted_at is None:
        return 0.0
    return float(max(0.0, (row.asked_at - row.submitted_at).total_seconds()))


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
