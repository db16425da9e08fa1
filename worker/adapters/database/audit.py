"""Reading what must agree, a page of files at one moment, and nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select

from worker.adapters.database.engine.transaction import Repository, Transaction
from worker.adapters.database.rows import OPEN_STATES, among
from worker.adapters.database.tables import (
    LATER,
    POLL,
    READY,
    batches,
    file_events,
    files,
    results,
    uploads,
)
from worker.core.audit import AuditedBatch, AuditedEvent, AuditedFile, AuditedUpload
from worker.core.lifecycle import BatchState, FileState, Lane
from worker.core.model.files import UploadState
from worker.core.model.ids import BatchId, FileId
from worker.errors import UnknownBatch

PAGE = 500
_LANES = {READY: Lane.SUBMIT, LATER: Lane.SUBMIT, POLL: Lane.POLL, None: None}


class AuditStore(Repository):
    """The account, as it stands."""

    def audited(self, batch: BatchId | None = None) -> Iterator[AuditedBatch | AuditedFile]:
        """Each batch, followed by its files in their turns; see `ports.batches.Accounts`."""
        for each in [batch] if batch is not None else self._database.look(_all_batches):
            found = self._database.look(partial(_batch, batch=each))
            if found is None:
                if batch is not None:
                    raise UnknownBatch(f"no batch {batch}")
                continue  # pruned meanwhile
            yield found
            for start in range(found.turns.start, found.turns.stop, PAGE):
                yield from self._database.look(partial(_page, batch=each, start=start))


def _all_batches(tx: Transaction) -> list[BatchId]:
    oldest_first = select(batches.c.id).order_by(batches.c.created_at)
    return [BatchId(batch) for batch in tx.run(oldest_first).scalars()]


def _batch(tx: Transaction, batch: BatchId) -> AuditedBatch | None:
    row = tx.run(select(batches).where(batches.c.id == batch)).one_or_none()
    if row is None:
        return None
    counted = select(files.c.state, func.count().label("number")).where(files.c.batch_id == batch)
    first = tx.run(select(func.min(files.c.turn)).where(files.c.batch_id == batch)).scalar_one()
    # A prune that was interrupted has taken the first files of a batch that is over.
    gone = (first or 0) if row.finished_at is not None else 0
    counts = {each.state: each.number for each in tx.run(counted.group_by(files.c.state))}
    return AuditedBatch(
        BatchId(row.id),
        BatchState(row.state),
        sealed=row.sealed_at is not None,
        ended=row.finished_at is not None,
        turns=range(gone, row.next_turn),
        files=sum(counts.values()),
        open_files=sum(counts.get(state, 0) for state in OPEN_STATES),
    )


def _page(tx: Transaction, batch: BatchId, start: int) -> list[AuditedFile]:
    chosen = select(files).where(
        files.c.batch_id == batch, files.c.turn.between(start, start + PAGE - 1)
    )
    rows = tx.run(chosen.order_by(files.c.turn)).all()
    ids = [row.id for row in rows]
    if not ids:
        return []
    told: dict[UUID, list[AuditedEvent]] = {}
    of_these = select(file_events).where(among(tx.kind, file_events.c.file_id, "ids"))
    for event in tx.run(of_these.order_by(file_events.c.id), {"ids": ids}):
        entry = AuditedEvent(event.at, event.event, FileState(event.state))
        told.setdefault(event.file_id, []).append(entry)
    with_result = select(results.c.file_id).where(among(tx.kind, results.c.file_id, "ids"))
    have = set(tx.run(with_result, {"ids": ids}).scalars())
    ledger: dict[UUID, list[AuditedUpload]] = {}
    begun = select(uploads).where(among(tx.kind, uploads.c.file_id, "ids"))
    for row in tx.run(begun.order_by(uploads.c.file_id, uploads.c.attempt), {"ids": ids}):
        upload = AuditedUpload(
            UploadState(row.state), row.chatflow_file_id, row.sent_at, row.ended_at
        )
        ledger.setdefault(row.file_id, []).append(upload)
    return [
        _file(row, told.get(row.id, []), ledger.get(row.id, []), has_result=row.id in have)
        for row in rows
    ]


def _file(
    row: Row[Any], events: list[AuditedEvent], ledger: list[AuditedUpload], *, has_result: bool
) -> AuditedFile:
    return AuditedFile(
        file_id=FileId(row.id),
        batch_id=BatchId(row.batch_id),
        source=row.source,
        state=FileState(row.state),
        lane=_LANES[row.lane],
        due=row.next_at is not None,
        leased=row.lease_token is not None,
        ended=row.finished_at is not None,
        upload_attempts=row.upload_attempts,
        deaths=row.deaths,
        error_code=row.error_code,
        chatflow_file_id=row.chatflow_file_id,
        has_result=has_result,
        reused=row.reused_from is not None,
        events=tuple(events),
        uploads=tuple(ledger),
    )
