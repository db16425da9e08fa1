"""Writing verdicts: everything a claim led to, in one transaction, fenced by the claim's token.

Where one upload ends the next one begins, so the same transaction says which may be sent.

The files are locked in the order of their ids, the new rows are worked out from what was read
under the lock, and go back with one statement a table. Verdicts of one file are written one after
the other, each judged by what the one before has left.

A verdict that is repeated because the answer to its first writing was lost finds the lease gone
and `recorded_token` equal to its own: it was written, all of it, since one transaction writes a
verdict whole; so nothing more is written and the caller hears that it is done.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, assert_never
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from worker.adapters.database import gates
from worker.adapters.database.engine.engines import Kind
from worker.adapters.database.engine.transaction import Repository, Transaction, writes
from worker.adapters.database.engine.types import clean_or_none, clean_value
from worker.adapters.database.file_rows import (
    READ,
    asked,
    begun,
    counted,
    freed,
    heard,
    kept,
    late,
    resumed,
)
from worker.adapters.database.moves import Moves, blame
from worker.adapters.database.oversize import fitting
from worker.adapters.database.rows import FENCE, cut_code, cut_message, ledger_of, lock_files
from worker.adapters.database.tables import results, uploads
from worker.core.ledger import Lesson, Upload, find, learn, may_be_sent, teaches
from worker.core.lifecycle import FileEventName, FileState, ServiceStatus
from worker.core.model.files import ErrorNote, Sending, UploadResult, UploadState
from worker.core.model.ids import FileId, UploadId
from worker.core.model.wire import Contents
from worker.core.verdicts import (
    Accepted,
    Ended,
    Requeued,
    Resumed,
    StillPolling,
    Verdict,
)

_RESULT_COLUMNS = [column.name for column in results.c if column.name != "file_id"]


class RecordStore(Repository):
    """Verdicts, and uploads that are about to be sent."""

    @writes
    def record(
        self, tx: Transaction, verdicts: Sequence[Verdict], sending: Sequence[Sending] = ()
    ) -> set[FileId | UploadId]:
        """Write verdicts and what is sent next, in one transaction."""
        if not verdicts and not sending:
            return set()
        *earlier, last = _rounds(fitting(tx, verdicts))
        if earlier:  # all locks at once, in the order of their ids
            lock_files(tx, [each.file for each in (*verdicts, *sending)], FENCE)
        written: set[FileId | UploadId] = set()
        for some in earlier:
            written |= _Writing(tx, some, ()).done()
        return written | _Writing(tx, last, sending).done()


def _rounds(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """The verdicts, in as many rounds as a file has at most, which is nearly always one.

    Who lost a file and who holds it now may speak of one upload in the same call; what the
    first says changes what the second means.
    """
    rounds: list[list[Verdict]] = [[]]
    turns: Counter[FileId] = Counter()
    for verdict in verdicts:
        turn = turns[verdict.file]
        turns[verdict.file] += 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(verdict)
    return rounds


class _Writing:
    """At most one verdict a file, and uploads, and the rows that they become."""

    def __init__(
        self, tx: Transaction, verdicts: Sequence[Verdict], sending: Sequence[Sending]
    ) -> None:
        self.tx = tx
        self.verdicts = verdicts
        self.sending = sending
        ending = [verdict.file for verdict in verdicts if verdict.upload is not None]
        beginning = [each.file for each in sending]
        self.locked = lock_files(tx, [*(verdict.file for verdict in verdicts), *beginning], READ)
        self.ledger = ledger_of(tx, {*ending, *beginning})
        self.gates = {
            profile: gates.look(tx, profile, "upload")
            for profile in {each.profile for each in sending}
        }
        self.written: set[FileId] = set()
        self.moved: set[FileId] = set()
        self.cleared: set[UploadId] = set()
        self.moves = Moves(tx)
        self.results: list[dict[str, Any]] = []
        self.uploads: list[dict[str, Any]] = []

    def done(self) -> set[FileId | UploadId]:
        for verdict in self.verdicts:
            if verdict.file in self.locked:
                self._judge(verdict, self.locked[verdict.file])
        for each in self.sending:
            if each.file in self.locked:
                self._send(each, self.locked[each.file])
        self._write()
        return self.written | self.cleared

    def _judge(self, verdict: Verdict, file: Row[Any]) -> None:
        held = file.lease_token == verdict.token
        lesson = self._learn(verdict, file, held=held)
        attempts = int(lesson is not None and lesson.counts)
        if lesson is not None and lesson.outdated:
            self.moved.add(verdict.file)
            self.moves.move(file, FileState.QUEUED, name=FileEventName.HANDED_BACK)
            return
        if held or (lesson is not None and lesson.adopted):
            self._apply(verdict, file, attempts)
            return
        if facts := late(verdict, file, attempts):
            self.moves.put(file.id, facts)
        if file.recorded_token == verdict.token:
            self.written.add(verdict.file)

    # --- the ledger ---

    def _learn(self, verdict: Verdict, file: Row[Any], *, held: bool) -> Lesson | None:
        """Write what the verdict says about an upload, whoever holds the file by now."""
        told = verdict.upload
        if told is None:
            return None
        lesson = learn(self.ledger.get(verdict.file, ()), told, FileState(file.state), held=held)
        if lesson is not None and lesson.news:
            self.uploads.append(_ended(self.tx, lesson.upload, told))
            self.uploads += [
                _ended(self.tx, other, UploadResult(other.id, UploadState.WITHDRAWN))
                for other in lesson.called_off
            ]
        return lesson

    def _send(self, each: Sending, file: Row[Any]) -> None:
        upload = find(self.ledger.get(each.file, ()), each.upload)
        gone = each.file in self.moved  # by a verdict just now, an upload accepted late
        gate = self.gates[each.profile]
        if upload is None or gone or not may_be_sent(upload, file.lease_token, gate):
            return
        self.cleared.add(each.upload)
        if teaches(upload.state, UploadState.SENT):
            self.uploads.append(_sent(self.tx, upload))

    # --- the file ---

    def _apply(self, verdict: Verdict, file: Row[Any], attempts: int) -> None:
        self.written.add(verdict.file)
        self.moved.add(verdict.file)
        match verdict:
            case StillPolling():
                self._wait(verdict, file)
            case Accepted():
                self._move(
                    verdict, file, begun(self.tx, verdict), wait=verdict.wait, attempts=attempts
                )
            case Resumed():
                self._move(verdict, file, resumed(self.tx, verdict, file))
            case Requeued():
                changes = {"failures": verdict.failures, **heard(self.tx, verdict, file)}
                self._move(verdict, file, changes, wait=verdict.wait, attempts=attempts)
            case Ended():
                self._move(verdict, file, heard(self.tx, verdict, file), attempts=attempts)
            case _:
                assert_never(verdict)
        if verdict.contents is not None:
            self.results.append(_result(verdict.file, self.tx.now, verdict.contents))

    def _wait(self, verdict: StillPolling, file: Row[Any]) -> None:
        changes = {
            **freed(verdict),
            "failures": verdict.failures,
            **blame(verdict.error),
            **asked(self.tx, verdict.status, file),
        }
        self.moves.wait(file, self.tx.after(verdict.wait), changes)
        if verdict.note is not None:
            self.moves.tell(verdict.file, verdict.note, verdict.state, verdict.error)
        elif verdict.status is not None and verdict.status != file.service_status:
            said = ErrorNote(str(verdict.status), ServiceStatus.word(verdict.status))
            self.moves.tell(verdict.file, FileEventName.STATUS, verdict.state, said)

    def _move(
        self,
        verdict: Accepted | Resumed | Requeued | Ended,
        file: Row[Any],
        changes: Mapping[str, Any],
        *,
        wait: float = 0.0,
        attempts: int = 0,
    ) -> None:
        """Write the row as it was, but for what the verdict changes: so they share a statement."""
        told = verdict if isinstance(verdict, Requeued | Ended) else None
        error = None if told is None else told.error
        values = {
            **freed(verdict),
            "failures": 0,
            **blame(error),
            **counted(file, attempts),
            **kept(file),
            **changes,
        }
        at = self.tx.after(wait) if wait else None
        name = None if told is None else told.note
        self.moves.move(file, verdict.state, at, name=name, error=error, values=values)

    def _write(self) -> None:
        self.moves.write()
        if self.uploads:
            self.tx.update(uploads, self.uploads)
        if self.results:
            self.tx.run(_upsert(self.tx.kind), self.results)


def _ended(tx: Transaction, upload: Upload, result: UploadResult) -> dict[str, Any]:
    return {
        "id": upload.id,
        "state": result.state.value,
        "chatflow_file_id": result.chatflow_file_id,
        "code": cut_code(result.error),
        "message": cut_message(result.error),
        "sent_at": upload.sent_at,
        "ended_at": tx.now,
    }


def _sent(tx: Transaction, upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "state": UploadState.SENT.value,
        "chatflow_file_id": None,
        "code": None,
        "message": None,
        "sent_at": tx.now,
        "ended_at": None,
    }


# --- contents ------------------------------------------------------------------------------------


def _result(file: UUID, at: datetime, contents: Contents) -> dict[str, Any]:
    segments = None if contents.segments is None else _json(contents.segments)
    texts = (clean_or_none(contents.parse_text), segments, clean_or_none(contents.llm_text))
    return {
        "file_id": file,
        "parse_content": texts[0],
        "parse_segments": texts[1],
        "llm_content": texts[2],
        "sanitized": contents.sanitized,
        "content_size": sum(len(text) for text in texts if text),
        "recorded_at": at,
    }


def _json(value: Any) -> str:
    """As readable JSON text that holds nothing a database's own JSON functions refuse."""
    return json.dumps(clean_value(value), ensure_ascii=False, separators=(",", ":"))


@cache
def _upsert(kind: Kind) -> Insert:
    match kind:
        case "sqlite":
            lite = sqlite.insert(results)
            return lite.on_conflict_do_update(
                index_elements=["file_id"], set_=_excluded(lite.excluded)
            )
        case "postgresql":
            large = postgresql.insert(results)
            return large.on_conflict_do_update(
                index_elements=["file_id"], set_=_excluded(large.excluded)
            )
        case "mariadb":
            maria = mysql.insert(results)
            return maria.on_duplicate_key_update(**_excluded(maria.inserted))


def _excluded(proposed: Any) -> dict[str, Any]:
    return {name: proposed[name] for name in _RESULT_COLUMNS}
