"""The categories' breakers: counted, opened and closed for all workers, and whom they hold.

A file that is held is queued for later and has the breaker's id in `files.waits_for`. Breakers are
locked in the order of their ids, and before any file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, delete, select, update

from worker.adapters.database.engine.transaction import Repository, Transaction, writes
from worker.adapters.database.engine.types import clean
from worker.adapters.database.moves import Moves, blame
from worker.adapters.database.rows import FENCE, among, inserted, lock_files
from worker.adapters.database.tables import CODE_LIMIT, LATER, breakers, files
from worker.codes import ErrorCode
from worker.core import breaker
from worker.core.breaker import Applicant, Breaker, Turn, breaker_id
from worker.core.lifecycle import FileState
from worker.core.model.files import ErrorNote
from worker.core.model.ids import FileId
from worker.core.seen import OpenBreaker

_TO_PROBE = select(breakers.c.id).where(
    breakers.c.opened_at.is_not(None), breakers.c.canary_at <= bindparam("now")
)
_FIRST_HELD = (
    select(files.c.id)
    .where(
        files.c.waits_for == bindparam("by"),
        files.c.lane == LATER,
        files.c.state == FileState.QUEUED.value,
    )
    .order_by(files.c.turn, files.c.id)
    .limit(1)
)


class BreakerStore(Repository):
    """What holds the files of one category."""

    @writes
    def heard_of(
        self, tx: Transaction, profile: str, category: str, code: str | None, limit: int
    ) -> Turn | None:
        """A file of the category has ended; see `ports.Breakers`."""
        key = breaker_id(profile, category)
        told = None if code is None else clean(code, CODE_LIMIT)
        while True:
            row = _locked(tx, [key]).get(key)
            known, turn = breaker.heard(None if row is None else _breaker(tx, row), told, limit)
            opened_at = tx.now if turn == "opened" else None
            if known is None:
                if row is not None:
                    tx.run(delete(breakers).where(breakers.c.id == key))
                return turn
            if row is not None:
                _write(tx, key, known, opened_at=opened_at or row.opened_at)
                return turn
            names = {"id": key, "profile": profile, "category": clean(category)}
            if inserted(tx, breakers, {**names, **_values(tx, known, opened_at)}):
                return turn
            # Another worker told of the first failure meanwhile: this one counts on from it.

    @writes
    def held_back(
        self, tx: Transaction, profile: str, applicants: Sequence[Applicant]
    ) -> frozenset[FileId]:
        """Put off the files that an open breaker holds; see `ports.Breakers`."""
        by_key: dict[UUID, list[Applicant]] = defaultdict(list)
        for each in applicants:
            by_key[breaker_id(profile, each.category)].append(each)
        held: dict[FileId, tuple[Applicant, UUID, str]] = {}
        for key, row in _locked(tx, list(by_key)).items():
            known = _breaker(tx, row)
            passing, after = breaker.admitted(known, by_key[key])
            if after is not known:
                _write(tx, key, after, opened_at=row.opened_at)
            words = breaker.reason(row.category, after)
            for each in by_key[key]:
                if each.file not in passing:
                    held[each.file] = (each, key, words)
        _put_off(tx, held)
        return frozenset(held)


def close_breakers(tx: Transaction, profile: str, category: str | None = None) -> None:
    """Forget the failures of one category, or of all; whom they held is due from now on."""
    chosen = [breakers.c.profile == profile]
    if category is not None:
        chosen.append(breakers.c.id == breaker_id(profile, category))
    tx.run(delete(breakers).where(*chosen))


def open_breakers(tx: Transaction, profile: str | None = None) -> list[OpenBreaker]:
    """The breakers that hold files, of one profile or of all."""
    chosen = select(breakers).where(breakers.c.opened_at.is_not(None))
    if profile is not None:
        chosen = chosen.where(breakers.c.profile == profile)
    return [
        OpenBreaker(row.profile, row.category, row.code, row.failures, tx.until(row.canary_at))
        for row in tx.run(chosen.order_by(breakers.c.profile, breakers.c.category))
    ]


def canaries(tx: Transaction) -> list[UUID]:
    """A held file for each breaker whose next canary is due."""
    found: list[UUID] = []
    for key in tx.run(_TO_PROBE, {"now": tx.now}).scalars().all():
        found += tx.run(_FIRST_HELD, {"by": key}).scalars().all()
    return found


def _locked(tx: Transaction, keys: Sequence[UUID]) -> dict[UUID, Row[Any]]:
    if not keys:
        return {}
    these = select(breakers).where(among(tx.kind, breakers.c.id, "ids")).order_by(breakers.c.id)
    return {row.id: row for row in tx.run(these.with_for_update(), {"ids": list(keys)})}


def _breaker(tx: Transaction, row: Row[Any]) -> Breaker:
    return Breaker(
        row.code,
        row.failures,
        is_open=row.opened_at is not None,
        canary=None if row.canary is None else FileId(row.canary),
        canary_in=tx.until(row.canary_at),
    )


def _values(tx: Transaction, known: Breaker, opened_at: Any) -> dict[str, Any]:
    return {
        "code": known.code,
        "failures": known.failures,
        "opened_at": opened_at,
        "canary": known.canary,
        "canary_at": tx.after(known.canary_in) if known.is_open else None,
    }


def _write(tx: Transaction, key: UUID, known: Breaker, *, opened_at: Any) -> None:
    tx.run(update(breakers).where(breakers.c.id == key).values(**_values(tx, known, opened_at)))


def _put_off(tx: Transaction, held: dict[FileId, tuple[Applicant, UUID, str]]) -> None:
    moves = Moves(tx)
    for file, row in lock_files(tx, list(held), FENCE).items():
        each, key, words = held[FileId(file)]
        if row.lease_token != each.token:
            continue  # somebody else's by now, who will ask by himself
        error = ErrorNote(ErrorCode.BREAKER_OPEN, words)
        values = {
            "recorded_token": each.token,
            "deaths": 0,
            "failures": 0,
            **blame(error),
            "waits_for": key,
            "category": clean(each.category),
        }
        later = tx.after(breaker.LOOK_AGAIN)
        moves.move(row, FileState.QUEUED, later, error=error, values=values)
    moves.write()
