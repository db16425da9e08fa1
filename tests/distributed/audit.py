"""Holds what the service was sent against what the database says became of it."""

from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import select

from tests.distributed.fleet import Fleet
from tests.stories import story_faults
from worker.adapters.database import open_store
from worker.adapters.database.engine.engines import parse, single
from worker.adapters.database.tables import file_events, files, results, uploads
from worker.cli.audit import examined
from worker.core.lifecycle import FileState
from worker.core.model.files import UploadState
from worker.core.model.ids import BatchId

SETTLED = {FileState.SUCCEEDED, FileState.PARTIAL}
COUNTED = {UploadState.ACCEPTED, UploadState.REFUSED, UploadState.UNKNOWN}


@dataclass
class Findings:
    """What an audit saw: `faults` must be empty, the rest is for the record."""

    files: int = 0
    uploads: int = 0
    doubles: int = 0
    unknown: int = 0
    poisoned: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.files} files, {self.uploads} uploads taken, {self.doubles} second uploads,"
            f" {self.unknown} unknown, {self.poisoned} poisoned, {len(self.faults)} faults"
        )


def audit(fleet: Fleet, batch: UUID | None, handed_in: list[str]) -> Findings:
    """Compare the service's ledger with the database, file by file. Names must be unique.

    Args:
        batch: the one to look at; None for all that there are.
        handed_in: the sources that must be there.
    """
    chosen = select(files) if batch is None else select(files).where(files.c.batch_id == batch)
    engine = single(parse(fleet.database_url))
    try:
        with engine.connect() as connection:
            rows = connection.execute(chosen).all()
            said = {row.file_id: row for row in connection.execute(select(results))}
            kept: dict[UUID, list[Any]] = defaultdict(list)
            for row in connection.execute(select(uploads).order_by(uploads.c.attempt)):
                kept[row.file_id].append(row)
            told: dict[UUID, list[Any]] = defaultdict(list)
            for row in connection.execute(select(file_events).order_by(file_events.c.id)):
                told[row.file_id].append(row)
    finally:
        engine.dispose()
    with closing(open_store(fleet.database_url)) as store:
        account = examined(store.audited(batch and BatchId(batch)))
    taken: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in fleet.simulator.ledger()["uploads"]:
        if entry["taken"]:
            taken[entry["file_name"]].append(entry)
    found = Findings(files=len(rows))
    found.faults += [f"{fault['source']}: {fault['fault']}" for fault in account.faults]
    _names(found, [row.source for row in rows], handed_in)
    for row in rows:
        ours, theirs = kept[row.id], taken[row.name]
        found.uploads += len(theirs)
        found.doubles += max(0, len(theirs) - 1)
        found.unknown += sum(upload.state == UploadState.UNKNOWN for upload in ours)
        found.poisoned += row.error_code == "poison"
        faults = [*_state(row), *_ledger(row, ours, theirs), *_contents(row, said, theirs)]
        faults += story_faults(told[row.id], FileState(row.state))
        found.faults += [f"{row.name}: {fault}" for fault in faults]
    return found


def _names(found: Findings, sources: list[str], handed_in: list[str]) -> None:
    have = Counter(sources)
    found.faults += [f"{path}: lost" for path in handed_in if not have[path]]
    found.faults += [f"{path}: {n} rows" for path, n in have.items() if n > 1]


def _state(row: Any) -> list[str]:
    state = FileState(row.state)
    faults = []
    if not state.is_terminal:
        faults.append(f"is {state}, not terminal")
    elif row.lane is not None or row.lease_token is not None or row.finished_at is None:
        faults.append(f"is {state}, but still in a lane or leased")
    if row.error_code == "poison" and row.deaths < 4:
        faults.append(f"poisoned after {row.deaths} deaths")
    return faults


def _ledger(row: Any, ours: list[Any], theirs: list[dict[str, Any]]) -> list[str]:
    faults = []
    ids = {str(entry["id"]) for entry in theirs}
    known = {upload.chatflow_file_id for upload in ours if upload.chatflow_file_id}
    unknown = [upload for upload in ours if upload.state == UploadState.UNKNOWN]
    if not known <= ids:
        faults.append(f"ids {known - ids} were never given to it")
    if len(ids - known) > len(unknown):
        faults.append(
            f"{len(ids - known)} uploads nobody knows of, {len(unknown)} unknown in the ledger"
        )
    if row.chatflow_file_id is not None and row.chatflow_file_id not in known:
        faults.append(f"points to {row.chatflow_file_id}, which its ledger does not hold")
    if any(upload.state == UploadState.SENT for upload in ours):
        faults.append("an upload is left as sent")
    if row.upload_attempts != sum(upload.state in COUNTED for upload in ours):
        faults.append(f"{row.upload_attempts} attempts counted, ledger {_told(ours)}")
    return [*faults, *_order(ours, theirs)]


def _order(ours: list[Any], theirs: list[dict[str, Any]]) -> list[str]:
    """Nothing is sent again after it was accepted, unless the service said that it failed."""
    failed = {str(entry["id"]) for entry in theirs if entry["last_status"] == 3}
    faults = []
    for earlier, later in pairwise(ours):
        certain = earlier.state == UploadState.ACCEPTED and earlier.chatflow_file_id not in failed
        if certain and later.sent_at is not None and earlier.ended_at <= later.sent_at:
            faults.append(f"uploaded again after it was accepted: {_told(ours)}")
    return faults


def _told(ours: list[Any]) -> str:
    return ", ".join(upload.state for upload in ours)


def _contents(row: Any, said: dict[UUID, Any], theirs: list[dict[str, Any]]) -> list[str]:
    has = row.id in said
    if has != (row.state in SETTLED):
        return [f"is {row.state} and has {'a' if has else 'no'} result"]
    if not has:
        return []
    entry = next((e for e in theirs if str(e["id"]) == row.chatflow_file_id), None)
    if entry is None:
        return ["its result belongs to no upload of its own"]
    if said[row.id].parse_content != entry["parse_content"]:
        return [f"its contents are not what the service said for {row.chatflow_file_id}"]
    return []
