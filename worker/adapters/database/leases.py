"""Leases: extending them, and giving files back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select

from worker.adapters.database.engine.engines import Kind
from worker.adapters.database.engine.transaction import Repository, Transaction, writes
from worker.adapters.database.moves import Moves, extend
from worker.adapters.database.rows import FENCE, among, ledger_of, lock_files
from worker.adapters.database.tables import files, uploads
from worker.core.ledger import meant
from worker.core.lifecycle import FileEventName, FileState
from worker.core.model.files import ErrorNote, UploadState
from worker.core.model.ids import FileId, LeaseToken

_FENCE_AND_POLLS = (*FENCE, files.c.polls)


@cache
def _held(kind: Kind) -> Select[Any]:
    return select(files.c.id).where(among(kind, files.c.lease_token, "tokens"))


class LeaseStore(Repository):
    """Leases of files in hand."""

    @writes
    def renew(self, tx: Transaction, tokens: Collection[LeaseToken], lease: float) -> None:
        """Extend the leases of what is still held under these tokens."""
        if not tokens:
            return
        ids = list(tx.run(_held(tx.kind), {"tokens": list(tokens)}).scalars())
        if lock_files(tx, ids, FENCE):
            extend(tx, ids, tokens, tx.after(lease))

    @writes
    def hand_back(
        self,
        tx: Transaction,
        files: Collection[tuple[FileId, LeaseToken]],
        reason: ErrorNote | None = None,
    ) -> None:
        """Give files back unworked: `submitting` becomes `queued`, due at once."""
        _hand_back(tx, dict(files), reason)


def end_leases(tx: Transaction, first: LeaseToken, last: LeaseToken) -> None:
    """End the leases with these tokens now, as if their time were over."""
    held = select(files.c.id, files.c.lease_token).where(files.c.lease_token.between(first, last))
    tokens = {row.id: row.lease_token for row in tx.run(held)}
    if lock_files(tx, tokens, FENCE):
        extend(tx, list(tokens), set(tokens.values()), tx.now)


def _hand_back(
    tx: Transaction, tokens: Mapping[FileId, LeaseToken], reason: ErrorNote | None
) -> None:
    locked = lock_files(tx, tokens, _FENCE_AND_POLLS).values()
    held = [row for row in locked if row.lease_token == tokens[FileId(row.id)]]
    if held:
        moves = Moves(tx)
        for row in held:
            polling = row.state == FileState.POLLING
            # A status call that was held before it was made is no event, and is not counted.
            asked = polling and reason is not None
            name = FileEventName.HANDED_BACK if asked or not polling else None
            state = FileState.POLLING if polling else FileState.QUEUED
            polls = {"polls": row.polls + asked}
            moves.move(row, state, name=name, error=reason, values=polls)
        moves.write()
        withdraw_intents(tx, [row.id for row in held])


def withdraw_intents(tx: Transaction, ids: Collection[UUID]) -> None:
    """Uploads of these locked files that were only meant, not sent, are called off."""
    called_off = [
        {"id": upload.id, "state": UploadState.WITHDRAWN.value, "ended_at": tx.now}
        for uploads_of_file in ledger_of(tx, ids).values()
        for upload in meant(uploads_of_file)
    ]
    if called_off:
        tx.update(uploads, called_off)
