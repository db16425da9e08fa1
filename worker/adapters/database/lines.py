"""A batch's files in short, a page at a time: what a report's table shows, without contents."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from worker.adapters.database.engine.transaction import Repository, Transaction, reads
from worker.adapters.database.tables import batches, files
from worker.core.lifecycle import FileState
from worker.core.model.ids import BatchId, FileId
from worker.core.seen import FileLine
from worker.errors import UnknownBatch

PAGE = 1000
_SHOWN = (
    files.c.id,
    files.c.name,
    files.c.source,
    files.c.category,
    files.c.size,
    files.c.state,
    files.c.error_code,
    files.c.error_message,
    files.c.upload_attempts,
    files.c.polls,
    files.c.submitted_at,
    files.c.finished_at,
)


class LineStore(Repository):
    """Files in short."""

    def lines(self, batch: BatchId) -> Iterator[FileLine]:
        """Every file of the batch in its turn, without contents; memory stays flat."""
        turns = self._all_turns(batch)
        for start in range(0, turns, PAGE):
            yield from self._lines(batch, start)

    @reads
    def _all_turns(self, tx: Transaction, batch: BatchId) -> int:
        turns = tx.run(
            select(batches.c.next_turn).where(batches.c.id == batch)
        ).scalar_one_or_none()
        if turns is None:
            raise UnknownBatch(f"no batch {batch}")
        return int(turns)

    @reads
    def _lines(self, tx: Transaction, batch: BatchId, start: int) -> list[FileLine]:
        page = select(*_SHOWN).where(
            files.c.batch_id == batch, files.c.turn.between(start, start + PAGE - 1)
        )
        return [
            FileLine(
                file_id=FileId(row.id),
                name=row.name,
                source=row.source,
                category=row.category,
                size=row.size,
                state=FileState(row.state),
                error_code=row.error_code,
                error_message=row.error_message,
                uploads=row.upload_attempts,
                polls=row.polls,
                submitted_at=row.submitted_at,
                finished_at=row.finished_at,
            )
            for row in tx.run(page.order_by(files.c.turn))
        ]
