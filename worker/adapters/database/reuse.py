"""The same bytes once: results that are taken over, and files that wait for one like them.

Who decides holds the lock on the profile's budget, so that of two workers with the same bytes one
sees what the other has decided. A key stands in `files.reuse_key` from the moment a file goes
ahead; a result that was taken over bears none, so that no result outlives its own upload's age.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, assert_never
from uuid import UUID

from sqlalchemy import Row, Select, bindparam, delete, exists, insert, select

from worker.adapters.database.breakers import canaries
from worker.adapters.database.budget import lock_budget
from worker.adapters.database.engine.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.moves import Moves, blame, hasten
from worker.adapters.database.rows import among, lock_files
from worker.adapters.database.tables import LATER, breakers, files, results
from worker.codes import ErrorCode
from worker.core import reuse
from worker.core.lifecycle import FileState
from worker.core.model.files import ErrorNote
from worker.core.model.ids import FileId
from worker.core.reuse import Dealt, Decision, GoAhead, TakeOver, Twin, WaitFor, Wanted

_AT_ONCE = 1000
_SOUGHT = (FileState.SUBMITTING.value, FileState.POLLING.value, FileState.SUCCEEDED.value)
_IN_FLIGHT = _SOUGHT[:2]

_NEEDED = "id state crew lease_token reuse_key next_at finished_at service_status waits_for"
_READ = tuple(column for column in files.c if column.name in set(_NEEDED.split()))


def _no_longer_held() -> Select[Any]:
    twin = files.alias("twin")
    flying = exists().where(twin.c.id == files.c.waits_for, twin.c.state.in_(_IN_FLIGHT))
    held = exists().where(breakers.c.id == files.c.waits_for, breakers.c.opened_at.is_not(None))
    waiting = select(files.c.id).where(
        files.c.waits_for.is_not(None),
        files.c.lane == LATER,
        files.c.state == FileState.QUEUED.value,
        ~flying,
        ~held,
    )
    return waiting.limit(bindparam("limit"))


_RELEASED = _no_longer_held()

_COPIED = [column for column in results.c if column.name != "file_id"]


class ReuseStore(Repository):
    """Results that are taken over, and files that wait for one like them."""

    def reuse(self, profile: str, wanted: Sequence[Wanted], within: float) -> Dealt:
        """Give files the result of others like them, where there is one; see `ports.Queue`."""
        return self._database.write(partial(_reuse, profile=profile, wanted=wanted, within=within))

    @reads
    def released(self, tx: Transaction) -> list[FileId]:
        """Files that wait for one that is not in flight any more, or may be a breaker's canary."""
        found = [*tx.run(_RELEASED, {"limit": _AT_ONCE}).scalars(), *canaries(tx)]
        return [FileId(file) for file in found]

    @writes
    def wake_released(self, tx: Transaction, files: Sequence[FileId]) -> int:
        """Make those of them due that still wait; returns how many."""
        locked = lock_files(tx, files, _READ)
        due = [row.id for row in locked.values() if row.state == FileState.QUEUED and row.waits_for]
        hasten(tx, due)
        return len(due)


def _reuse(tx: Transaction, *, profile: str, wanted: Sequence[Wanted], within: float) -> Dealt:
    lock_budget(tx, profile)
    keys = sorted({each.key for each in wanted})
    alike = list(tx.run(_alike(tx), {"keys": keys}).scalars())
    locked = lock_files(tx, [*alike, *(each.file for each in wanted)], _READ)
    held = [each for each in wanted if _holds(each, locked.get(each.file))]
    if not held:
        return Dealt()
    crew = locked[held[0].file].crew
    kept = _kept(tx, alike)
    twins = [_twin(tx, locked[file], crew, kept=kept) for file in alike if file in locked]
    return _written(tx, held, locked, reuse.deal(held, twins, within))


def _alike(tx: Transaction) -> Select[Any]:
    found = select(files.c.id).where(among(tx.kind, files.c.reuse_key, "keys"))
    return found.where(files.c.state.in_(_SOUGHT))


def _holds(wanted: Wanted, row: Row[Any] | None) -> bool:
    return row is not None and row.lease_token == wanted.token


def _kept(tx: Transaction, ids: Sequence[UUID]) -> set[UUID]:
    """Those of the files whose contents have not been pruned."""
    full = select(results.c.file_id).where(
        among(tx.kind, results.c.file_id, "ids"), results.c.content_size > 0
    )
    return set(tx.run(full, {"ids": list(ids)}).scalars())


def _twin(tx: Transaction, row: Row[Any], crew: str, *, kept: set[UUID]) -> Twin:
    return Twin(
        FileId(row.id),
        row.reuse_key,
        FileState(row.state),
        ours=row.crew == crew,
        overdue=tx.since(row.next_at),
        ended=None if row.finished_at is None else tx.since(row.finished_at),
        has_contents=row.id in kept,
    )


def _written(
    tx: Transaction,
    held: Iterable[Wanted],
    locked: Mapping[UUID, Row[Any]],
    decisions: Mapping[FileId, Decision],
) -> Dealt:
    moves = Moves(tx)
    copies: list[dict[str, Any]] = []
    dealt: dict[type, set[FileId]] = {GoAhead: set(), TakeOver: set(), WaitFor: set()}
    for each in held:
        decision = decisions[each.file]
        dealt[type(decision)].add(each.file)
        match decision:
            case GoAhead():
                moves.put(each.file, {"reuse_key": each.key, "waits_for": None})
            case WaitFor(twin):
                _put_off(tx, moves, each, locked[each.file], twin)
            case TakeOver(origin):
                _take_over(moves, each, locked[each.file], locked[origin])
                copies.append({"to": each.file, "from": origin})
            case _:
                assert_never(decision)
    moves.write()
    _copy(tx, copies)
    return Dealt(*(frozenset(dealt[kind]) for kind in (GoAhead, TakeOver, WaitFor)))


def _put_off(tx: Transaction, moves: Moves, each: Wanted, row: Row[Any], twin: FileId) -> None:
    reason = ErrorNote(ErrorCode.SAME_IN_FLIGHT, f"waits for the result of file {twin}")
    values = {
        **_freed(each),
        **_described(each),
        **blame(reason),
        "reuse_key": None,
        "waits_for": twin,
    }
    moves.move(row, FileState.QUEUED, tx.after(reuse.LOOK_AGAIN), error=reason, values=values)


def _take_over(moves: Moves, each: Wanted, row: Row[Any], origin: Row[Any]) -> None:
    reason = ErrorNote(ErrorCode.REUSED, f"has the result of file {origin.id}")
    values = {
        **_freed(each),
        **blame(None),
        "reuse_key": None,
        "waits_for": None,
        "reused_from": origin.id,
        **_described(each),
        "service_status": origin.service_status,
    }
    moves.take_over(row, reason, values)


def _freed(each: Wanted) -> dict[str, Any]:
    return {"recorded_token": each.token, "deaths": 0, "failures": 0}


def _described(each: Wanted) -> dict[str, Any]:
    return {"category": each.category, "size": each.size, "sha256": each.sha256}


def _copy(tx: Transaction, copies: Sequence[Mapping[str, Any]]) -> None:
    """Give each file its own copy, which stays when the other one's batch is pruned."""
    if not copies:
        return
    old = delete(results).where(among(tx.kind, results.c.file_id, "ids"))
    tx.run(old, {"ids": [each["to"] for each in copies]})
    to = bindparam("to", type_=results.c.file_id.type)
    of = results.c.file_id == bindparam("from", type_=results.c.file_id.type)
    names = ["file_id", *(column.name for column in _COPIED)]
    tx.run(insert(results).from_select(names, select(to, *_COPIED).where(of)), list(copies))
