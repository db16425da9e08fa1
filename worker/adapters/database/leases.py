"""Leases: extending them, and giving files back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, Update, bindparam, case, select, update

from worker.adapters.database.engine import Kind
from worker.adapters.database.rows import FENCE, among, event, ledger_of, lock_files
from worker.adapters.database.tables import LATER, POLL, READY, file_events, files, uploads
from worker.adapters.database.transaction import Repository, Transaction, writes
from worker.core.lifecycle import FileState
from worker.core.model import FileId, LeaseToken, UploadState


@cache
def _held(kind: Kind) -> Select[Any]:
    return select(files.c.id).where(among(kind, files.c.lease_token, "tokens"))


@cache
def _extend(kind: Kind) -> Update:
    return (
        update(files)
        .where(among(kind, files.c.id, "ids"), among(kind, files.c.lease_token, "tokens"))
        .values(
            lease_until=bindparam("until"),
            next_at=bindparam("until"),
            # Its lease had run out and it was about to be claimed by somebody else.
            lane=case((files.c.lane == READY, LATER), else_=files.c.lane),
        )
    )


class LeaseStore(Repository):
    """Leases of files in hand."""

    @writes
    def renew(self, tx: Transaction, tokens: Collection[LeaseToken], lease: float) -> None:
        """Extend the leases of what is still held under these tokens."""
        if not tokens:
            return
        ids = list(tx.run(_held(tx.kind), {"tokens": list(tokens)}).scalars())
        if lock_files(tx, ids, FENCE):
            values = {"ids": ids, "tokens": list(tokens), "until": tx.after(lease)}
            tx.run(_extend(tx.kind), values)

    @writes
    def hand_back(self, tx: Transaction, files: Collection[tuple[FileId, LeaseToken]]) -> None:
        """Give files back unworked: `submitting` becomes `queued`, due at once."""
        _hand_back(tx, dict(files))


def _hand_back(tx: Transaction, tokens: Mapping[FileId, LeaseToken]) -> None:
    locked = lock_files(tx, tokens, FENCE).values()
    held = [row for row in locked if row.lease_token == tokens[FileId(row.id)]]
    if held:
        tx.update(files, [_freed(tx, row) for row in held])
        withdraw_intents(tx, [row.id for row in held])
        _tell(tx, [row for row in held if row.state == FileState.SUBMITTING])


def _freed(tx: Transaction, row: Row[Any]) -> dict[str, Any]:
    polling = row.state == FileState.POLLING
    return {
        "id": row.id,
        "state": row.state if polling else FileState.QUEUED.value,
        "lane": POLL if polling else READY,
        "next_at": tx.now,
        "lease_token": None,
        "lease_until": None,
    }


def _tell(tx: Transaction, rows: Collection[Row[Any]]) -> None:
    if rows:
        queued = FileState.QUEUED.value
        tx.insert(file_events, [event(row.id, tx.now, "handed_back", queued) for row in rows])


def withdraw_intents(tx: Transaction, ids: Collection[UUID]) -> None:
    """Uploads of these locked files that were only meant, not sent, are called off."""
    meant = [
        {"id": upload.id, "state": UploadState.WITHDRAWN.value, "ended_at": tx.now}
        for ledger in ledger_of(tx, ids).values()
        for upload in ledger
        if upload.state == UploadState.INTENT
    ]
    if meant:
        tx.update(uploads, meant)
