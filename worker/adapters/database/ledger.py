"""The ledger of uploads: written before anything is sent, since an upload can't be repeated.

A row is only written by who has locked its file's row (`rows.lock_files`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from worker.adapters.database.engine.transaction import Repository, Transaction, writes
from worker.adapters.database.rows import FENCE, ledger_of, lock_files
from worker.adapters.database.tables import dialogs, uploads
from worker.core.ledger import find, next_attempt
from worker.core.model.files import DialogLoad, Intent, UploadState
from worker.core.model.ids import UploadId


class LedgerStore(Repository):
    """Uploads before their end."""

    @writes
    def begin_uploads(self, tx: Transaction, loads: Sequence[DialogLoad]) -> set[UploadId]:
        """Write each load's dialog session and its uploads as `intent`."""
        if not loads:
            return set()
        intents = [intent for load in loads for intent in load.intents]
        locked = lock_files(tx, [intent.file for intent in intents], FENCE)
        held = {i.id for i in intents if _token(locked, i.file) == i.token}
        tx.insert(dialogs, [_dialog(tx, load) for load in loads], ignore=True)
        _insert_intents(tx, loads, held)
        return held


def _token(locked: Mapping[UUID, Row[Any]], file: UUID) -> UUID | None:
    row = locked.get(file)
    return None if row is None else row.lease_token


def _dialog(tx: Transaction, load: DialogLoad) -> dict[str, Any]:
    session = load.session
    return {
        "id": session.id,
        "profile": load.profile,
        "chatflow_dialog_id": session.chatflow_dialog_id,
        "session_id": session.node.session_id,
        "flow_uuid": session.node.flow_uuid,
        "node_id": session.node.node_id,
        "opened_at": tx.now,
    }


def _insert_intents(tx: Transaction, loads: Iterable[DialogLoad], held: set[UploadId]) -> None:
    wanted = [(load, i) for load in loads for i in load.intents if i.id in held]
    ledger = ledger_of(tx, {intent.file for _, intent in wanted})
    rows = []
    for load, intent in wanted:
        earlier = ledger.get(intent.file, [])
        # A call that is repeated because its answer was lost finds its rows there.
        if find(earlier, intent.id) is None:
            rows.append(_intent(tx, load, intent, next_attempt(earlier)))
    if rows:
        tx.insert(uploads, rows)


def _intent(tx: Transaction, load: DialogLoad, intent: Intent, attempt: int) -> dict[str, Any]:
    return {
        "id": intent.id,
        "file_id": intent.file,
        "dialog_id": load.session.id,
        "attempt": attempt,
        "state": UploadState.INTENT.value,
        "lease_token": intent.token,
        "category": intent.category,
        "size": intent.size,
        "created_at": tx.now,
    }
