"""The ledger of uploads: written before anything is sent, since an upload can't be repeated.

A row is only written by who has locked its file's row (`rows.lock_files`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, Update, bindparam, select, update

from worker.adapters.database import gates
from worker.adapters.database.engine import Kind
from worker.adapters.database.gates import Gate
from worker.adapters.database.rows import FENCE, among, ledger_of, lock_files
from worker.adapters.database.tables import dialogs, uploads
from worker.adapters.database.transaction import Repository, Transaction, writes
from worker.core.model import DialogLoad, Intent, UploadId, UploadState

_SENDABLE = frozenset({UploadState.INTENT, UploadState.SENT})


_NAMED = (uploads.c.id, uploads.c.file_id, uploads.c.state, uploads.c.lease_token)


@cache
def _chosen(kind: Kind) -> Select[Any]:
    """Uploads, and how their profile's gate stands."""
    return select(*_NAMED, *gates.STANDING).where(among(kind, uploads.c.id, "ids"))


@cache
def _send(kind: Kind) -> Update:
    marks = {"state": UploadState.SENT.value, "sent_at": bindparam("now")}
    return update(uploads).where(among(kind, uploads.c.id, "ids")).values(marks)


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


def mark_sent(
    tx: Transaction, profile: str, ids: Collection[UploadId], locked: Mapping[UUID, Row[Any]]
) -> set[UploadId]:
    """Turn those intents into `sent` that may be sent; `locked` has their files."""
    looked_for = {"ids": list(ids), "profile": profile, "channel": "upload"}
    rows = tx.run(_chosen(tx.kind), looked_for).all()
    passing = [row for row in rows if _may_be_sent(row, locked, gates.read(tx, row))]
    if fresh := [row.id for row in passing if row.state == UploadState.INTENT]:
        tx.run(_send(tx.kind), {"ids": fresh, "now": tx.now})
    return {UploadId(row.id) for row in passing}


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
        if all(upload.id != intent.id for upload in earlier):
            attempt = earlier[-1].attempt + 1 if earlier else 1
            rows.append(_intent(tx, load, intent, attempt))
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


def _may_be_sent(upload: Row[Any], locked: Mapping[UUID, Row[Any]], gate: Gate) -> bool:
    if gate.state in {"paused", "frozen"}:
        return False
    # `sent` passes too: the caller asks again only when the answer to its first call was lost,
    # and so has sent nothing yet.
    held = _token(locked, upload.file_id) == upload.lease_token
    probe_only = gate.state == "thawing" and upload.lease_token != gate.probe
    return held and not probe_only and upload.state in _SENDABLE
