"""Why files did not succeed, counted where they lie."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from worker.adapters.database.engine.transaction import Repository, Transaction, reads
from worker.adapters.database.tables import files
from worker.core.lifecycle import FileState
from worker.core.model.ids import BatchId
from worker.core.seen import Reason

UNSUCCESSFUL = tuple(
    state.value for state in FileState if state.is_terminal and state is not FileState.SUCCEEDED
)


class ReasonStore(Repository):
    """What went wrong in a batch, by reason."""

    @reads
    def reasons(self, tx: Transaction, batch: BatchId, examples: int = 3) -> list[Reason]:
        """Why files did not succeed, by state and code, the most frequent first."""
        return [
            Reason(
                FileState(row.state),
                row.error_code,
                row.number,
                _examples(tx, batch, row, examples),
            )
            for row in tx.run(_counted(batch)).all()
        ]


def _counted(batch: BatchId) -> Select[Any]:
    number = func.count().label("number")
    return (
        select(files.c.state, files.c.error_code, number)
        .where(files.c.batch_id == batch, files.c.state.in_(UNSUCCESSFUL))
        .group_by(files.c.state, files.c.error_code)
        .order_by(number.desc(), files.c.state, files.c.error_code)
    )


def _examples(
    tx: Transaction, batch: BatchId, row: Any, limit: int
) -> tuple[tuple[str, str | None], ...]:
    if not limit:
        return ()
    same: ColumnElement[bool] = files.c.error_code == row.error_code
    if row.error_code is None:
        same = files.c.error_code.is_(None)
    first = (
        select(files.c.source, files.c.error_message)
        .where(files.c.batch_id == batch, files.c.state == row.state, same)
        .order_by(files.c.turn)
        .limit(limit)
    )
    return tuple((found.source, found.error_message) for found in tx.run(first))
