"""What schedules have to remember: who leads, what was fired, which files were handed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, delete, func, or_, select, update

from worker.adapters.database import tallies
from worker.adapters.database.engine.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.engine.types import clean
from worker.adapters.database.moves import Moves
from worker.adapters.database.rows import among, inserted, lock_files
from worker.adapters.database.tables import files as file_table
from worker.adapters.database.tables import (
    schedule_files,
    schedule_leader,
    schedule_runs,
)
from worker.core.lifecycle import FileEventName, FileState
from worker.core.model.files import ErrorNote
from worker.core.model.fleet import Leftover, SeenFile
from worker.core.model.ids import FileId
from worker.core.pieces import pieces
from worker.core.seen import Firing

_AT_ONCE = 500


class ScheduleStore(Repository):
    """The schedules' memory."""

    @writes
    def lead(self, tx: Transaction, holder: str, lease: float) -> bool:
        """Whether this Beat leads: at most one holder does at a time, until its lease ends."""
        ours = {"holder": holder, "until": tx.after(lease)}
        free = or_(schedule_leader.c.holder == holder, schedule_leader.c.until <= tx.now)
        if tx.run(update(schedule_leader).where(free).values(**ours)).rowcount:
            return True
        return inserted(tx, schedule_leader, {"id": 1, **ours})

    @reads
    def last_due(self, tx: Transaction, schedule: str) -> float | None:
        """The last due time (POSIX seconds) that was fired, None before the first."""
        last = _last(tx, schedule)
        return None if last is None else last.timestamp()

    @reads
    def ticked_ago(self, tx: Transaction) -> float | None:
        """Seconds since a Beat's tick was worked last, None before the first."""
        return tallies.ticked_ago(tx)

    @reads
    def firings(self, tx: Transaction) -> dict[str, Firing]:
        """The last firing of each schedule."""
        last = (
            select(schedule_runs.c.schedule, func.max(schedule_runs.c.due).label("due"))
            .group_by(schedule_runs.c.schedule)
            .subquery()
        )
        same = (last.c.schedule == schedule_runs.c.schedule) & (last.c.due == schedule_runs.c.due)
        chosen = select(schedule_runs).join(last, same)
        return {row.schedule: Firing(row.schedule, row.due, row.fired_at) for row in tx.run(chosen)}

    @writes
    def fire(self, tx: Transaction, schedule: str, due: float) -> bool:
        """Record a firing; False when this due time, or a later one, was fired already."""
        moment = datetime.fromtimestamp(due, UTC)
        last = _last(tx, schedule)
        if last is not None and last >= moment:
            return False
        # Of several that come here together, the key lets one pass.
        run = {"schedule": schedule, "due": moment, "fired_at": tx.now}
        return inserted(tx, schedule_runs, run)

    def unseen(self, schedule: str, files: Iterable[SeenFile]) -> list[SeenFile]:
        """Those files that the schedule has not handed in with this size and time."""
        return [file for some in pieces(files, _AT_ONCE) for file in self._unseen(schedule, some)]

    @reads
    def _unseen(self, tx: Transaction, schedule: str, files: Sequence[SeenFile]) -> list[SeenFile]:
        known = _remembered(tx, schedule, [file.source for file in files])
        return [file for file in files if known.get(_key(file.source)) != _looks(file)]

    @reads
    def seen_digest(self, tx: Transaction, schedule: str, source: str) -> str | None:
        """The sha256 a file had when the schedule handed it in last."""
        chosen = select(schedule_files.c.sha256).where(
            schedule_files.c.schedule == schedule, schedule_files.c.source_key == _key(source)
        )
        return tx.run(chosen).scalar_one_or_none()

    def remember(self, schedule: str, files: Sequence[SeenFile]) -> None:
        """The schedule has handed these files in."""
        for some in pieces(files, _AT_ONCE):
            self._remember(schedule, some)

    @writes
    def _remember(self, tx: Transaction, schedule: str, files: Sequence[SeenFile]) -> None:
        rows = {_key(file.source): _seen(schedule, file) for file in files}
        former = delete(schedule_files).where(
            schedule_files.c.schedule == schedule,
            among(tx.kind, schedule_files.c.source_key, "ids"),
        )
        tx.run(former, {"ids": sorted(rows)})
        tx.insert(schedule_files, [rows[key] for key in sorted(rows)])

    @reads
    def leftovers(self, tx: Transaction, limit: int, after: FileId | None = None) -> list[Leftover]:
        """Succeeded files whose batch has an `after` rule that was not carried out yet, by id."""
        chosen = select(file_table).where(
            file_table.c.after_rule.is_not(None),
            file_table.c.state == FileState.SUCCEEDED.value,
        )
        if after is not None:
            chosen = chosen.where(file_table.c.id > after)
        chosen = chosen.order_by(file_table.c.id).limit(limit)
        return [_leftover(row) for row in tx.run(chosen)]

    @writes
    def taken_away(self, tx: Transaction, file: FileId, error: ErrorNote | None = None) -> None:
        """The rule was carried out, or, with an error, can't be: either way it is done with."""
        row = lock_files(tx, [file]).get(file)
        if row is None or row.after_rule is None:
            return
        tx.update(file_table, [{"id": file, "after_rule": None}])
        done = FileEventName.TAKEN_AWAY if error is None else FileEventName.NOT_TAKEN_AWAY
        moves = Moves(tx)
        moves.tell(file, done, FileState(row.state), error)
        moves.write()


def _last(tx: Transaction, schedule: str) -> datetime | None:
    last = select(func.max(schedule_runs.c.due)).where(schedule_runs.c.schedule == schedule)
    moment: datetime | None = tx.run(last).scalar_one()
    return moment


def _key(source: str) -> str:
    return sha256(clean(source).encode()).hexdigest()


def _looks(file: SeenFile) -> tuple[int, int]:
    return file.size, file.mtime_ns


def _remembered(
    tx: Transaction, schedule: str, sources: Sequence[str]
) -> dict[str, tuple[int, int]]:
    chosen = select(schedule_files).where(
        schedule_files.c.schedule == schedule,
        among(tx.kind, schedule_files.c.source_key, "ids"),
    )
    rows = tx.run(chosen, {"ids": [_key(source) for source in sources]})
    return {row.source_key: (row.size, row.mtime_ns) for row in rows}


def _seen(schedule: str, file: SeenFile) -> dict[str, Any]:
    return {
        "schedule": schedule,
        "source_key": _key(file.source),
        "source": file.source,
        "size": file.size,
        "mtime_ns": file.mtime_ns,
        "sha256": file.sha256,
    }


def _leftover(row: Row[Any]) -> Leftover:
    return Leftover(FileId(row.id), row.source, row.after_rule, row.size or 0, row.sha256 or "")
