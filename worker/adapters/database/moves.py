"""Where a file stands: the only place that writes its state, lane, due time and lease.

Every way goes through `advance` or `reopen` of `worker.core.lifecycle`, so no path can write what
the table of states forbids. Rows are moved by who has locked them (`rows.lock_files`, or a claim).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Update, bindparam, case, update

from worker.adapters.database.engine.engines import Kind
from worker.adapters.database.engine.transaction import Transaction
from worker.adapters.database.rows import among, cut_code, cut_message
from worker.adapters.database.tables import LATER, POLL, READY, file_events, files
from worker.core.leases import deaths
from worker.core.lifecycle import (
    FileEventName,
    FileState,
    ForbiddenTransition,
    Lane,
    advance,
    reopen,
    take_over,
)
from worker.core.model.files import ErrorNote

_FREE: dict[str, Any] = {"lease_token": None}


class Moves:
    """What one transaction does to files: their new rows, and the entries of their stories."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        self._events: list[dict[str, Any]] = []

    def move(
        self,
        row: Row[Any],
        state: FileState,
        at: datetime | None = None,
        *,
        name: FileEventName | None = None,
        error: ErrorNote | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """The file is in this state from now on, due at the moment `at` (open states: else now).

        Nobody holds it any more. Its story gets an entry when the state changes or `name` is
        given.

        Args:
            row: the file's row under the lock; `id` and `state` are needed.
            state: where it goes; staying is a move, too.
            at: when it wants attention.
            name: what the entry is called, unless it only tells of the state.
            error: the reason, for the entry.
            values: other columns; rows with the same ones share a statement.

        Raises:
            ForbiddenTransition: the table does not allow it.
        """
        advance(old := FileState(row.state), state)
        self.put(row.id, {**_place(self._tx, state, at), **(values or {})})
        if name is not None or state is not old:
            self.tell(row.id, name or FileEventName.of(state), state, error)

    def end(
        self,
        row: Row[Any],
        state: FileState,
        error: ErrorNote | None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """The file ends, for this reason; see `move`."""
        self.move(row, state, error=error, values={**blame(error), **(values or {})})

    def take_over(self, row: Row[Any], reason: ErrorNote, values: Mapping[str, Any]) -> None:
        """The file, which was about to be uploaded, has succeeded with another one's result.

        Raises:
            ForbiddenTransition: the table does not allow it.
        """
        state = take_over(FileState(row.state), FileState.SUCCEEDED)
        self.put(row.id, {**_place(self._tx, state, None), **values})
        self.tell(row.id, FileEventName.REUSED, state, reason)

    def retry(
        self,
        row: Row[Any],
        state: FileState,
        values: Mapping[str, Any],
        at: datetime | None = None,
    ) -> None:
        """The file, which had ended, is open again and due at the moment `at`, else now.

        Raises:
            ForbiddenTransition: the table does not allow it.
        """
        reopen(FileState(row.state), state)
        self.put(row.id, {**_place(self._tx, state, at), **values})
        self.tell(row.id, FileEventName.RETRIED, state)

    def wait(self, row: Row[Any], at: datetime, values: Mapping[str, Any]) -> None:
        """The polling file stays what it is and where it is, due at `at`, held by nobody."""
        if row.state != FileState.POLLING:
            raise ForbiddenTransition(
                FileState(row.state), FileState.POLLING, how="without an upload that was taken"
            )
        self.put(row.id, {"next_at": at, **_FREE, **values})

    def tell(
        self, file: UUID, name: FileEventName, state: FileState, error: ErrorNote | None = None
    ) -> None:
        """Add an entry to a file's story; `state` is where it stands then."""
        self._events.append(
            {
                "file_id": file,
                "at": self._tx.now,
                "event": name.value,
                "state": state.value,
                "code": cut_code(error),
                "message": cut_message(error),
                "seconds": None if error is None else error.seconds,
            }
        )

    def put(self, file: UUID, values: dict[str, Any]) -> None:
        """Set columns of a file that don't say where it stands."""
        row = {"id": file, **values}
        self._rows.setdefault(tuple(row), []).append(row)

    def write(self) -> None:
        """Write it all: a statement for each set of columns, and one for the stories."""
        for rows in self._rows.values():
            self._tx.update(files, rows)
        if self._events:
            self._tx.insert(file_events, self._events)


def _place(tx: Transaction, state: FileState, at: datetime | None) -> dict[str, Any]:
    ended = state.is_terminal
    return {
        "state": state.value,
        "lane": _lane(tx, state, at),
        "next_at": None if ended else at or tx.now,
        "finished_at": tx.now if ended else None,
        **_FREE,
    }


def _lane(tx: Transaction, state: FileState, at: datetime | None) -> str | None:
    match state.lane:
        case None:
            return None
        case Lane.POLL:
            return POLL
        case Lane.SUBMIT:
            return LATER if at is not None and at > tx.now else READY


def blame(error: ErrorNote | None) -> dict[str, Any]:
    """The columns that say what is wrong with a file."""
    return {"error_code": cut_code(error), "error_message": cut_message(error)}


def first_place(now: datetime) -> dict[str, Any]:
    """Where a file stands that was handed in just now."""
    return {"state": FileState.QUEUED.value, "lane": READY, "next_at": now}


# --- leases: the same for many files, so one statement by their ids ------------------------------


def promote(tx: Transaction, ids: Collection[UUID]) -> None:
    """Put files that came due in the submit lane among those that are taken by turn."""
    tx.run(_promote(tx.kind), {"ids": list(ids)})


def hasten(tx: Transaction, ids: Collection[UUID]) -> None:
    """Make due what is queued for a later moment."""
    if ids:
        tx.run(_hasten(tx.kind), {"ids": list(ids), "now": tx.now})


def take(
    tx: Transaction, rows: Sequence[Row[Any]], lane: Lane, token: UUID, until: datetime
) -> None:
    """Lease the files, which nobody else can have meanwhile, and tell of it in their stories."""
    moves = Moves(tx)
    for row in rows:
        old = FileState(row.state)
        if row.lease_token is not None:
            moves.tell(row.id, FileEventName.LEASE_LOST, old)
            moves.put(row.id, {"deaths": deaths(row.deaths, leased=True)})
        new = advance(old, _IN_HAND[lane])
        if new is not old:
            moves.tell(row.id, FileEventName.of(new), new)
    tx.run(_take(tx.kind, lane), {"ids": [row.id for row in rows], "token": token, "until": until})
    moves.write()


def extend(
    tx: Transaction, ids: Collection[UUID], tokens: Collection[UUID], until: datetime
) -> None:
    """Let what is still held under these tokens be held until then."""
    tx.run(_extend(tx.kind), {"ids": list(ids), "tokens": list(tokens), "until": until})


_IN_HAND = {Lane.SUBMIT: FileState.SUBMITTING, Lane.POLL: FileState.POLLING}


@cache
def _promote(kind: Kind) -> Update:
    return update(files).where(among(kind, files.c.id, "ids")).values(lane=READY)


@cache
def _hasten(kind: Kind) -> Update:
    these = update(files).where(among(kind, files.c.id, "ids"))
    return these.values(lane=READY, next_at=bindparam("now"), waits_for=None)


@cache
def _take(kind: Kind, lane: Lane) -> Update:
    marks: dict[Any, Any] = {
        files.c.lease_token: bindparam("token"),
        files.c.next_at: bindparam("until"),
    }
    if lane is Lane.SUBMIT:
        # What was due by itself waits for nobody any more: no wake-up cuts its next wait short.
        marks |= {
            files.c.state: FileState.SUBMITTING.value,
            files.c.lane: LATER,
            files.c.waits_for: None,
        }
    return update(files).where(among(kind, files.c.id, "ids")).values(marks)


@cache
def _extend(kind: Kind) -> Update:
    return (
        update(files)
        .where(among(kind, files.c.id, "ids"), among(kind, files.c.lease_token, "tokens"))
        .values(
            next_at=bindparam("until"),
            # Its lease had run out and it was about to be claimed by somebody else.
            lane=case((files.c.lane == READY, LATER), else_=files.c.lane),
        )
    )
