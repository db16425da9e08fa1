"""Reading results and stories: a page at a time, no snapshot held between the pages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, bindparam, case, func, select

from worker.adapters.database.engine.engines import Kind
from worker.adapters.database.engine.transaction import Repository, Transaction, reads
from worker.adapters.database.engine.types import clean
from worker.adapters.database.rows import among
from worker.adapters.database.tables import batches, dialogs, file_events, files, results, uploads
from worker.core.lifecycle import FileState
from worker.core.model.files import UploadState
from worker.core.model.ids import BatchId, Crew, FileId, UploadId
from worker.core.model.stories import FileEvent, FilePlace, FileResult, FileStory, UploadEntry
from worker.errors import UnknownBatch, UnknownFile

PAGE_FILES = 2_000
PAGE_CHARACTERS = 8 * 2**20

_RESULT: tuple[Any, ...] = (
    files.c.batch_id,
    files.c.id,
    files.c.source,
    files.c.name,
    files.c.size,
    files.c.sha256,
    files.c.category,
    files.c.chatflow_file_id,
    files.c.service_status,
    files.c.state,
    files.c.error_code,
    files.c.error_message,
    results.c.parse_content,
    results.c.parse_segments,
    results.c.llm_content,
    files.c.upload_attempts,
    files.c.polls,
    files.c.submitted_at,
    files.c.finished_at,
    results.c.sanitized,
    files.c.reused_from,
)
"""What a result is made of, in the order of its fields: a million rows are not asked by name."""

_PLACE: tuple[Any, ...] = (
    files.c.created_at,
    files.c.next_at,
    files.c.lease_token,
    files.c.crew,
    files.c.failures,
    files.c.deadline_at,
)
_JOINED = files.outerjoin(results, results.c.file_id == files.c.id)
_WHOLE: Select[Any] = select(*_RESULT, *_PLACE).select_from(_JOINED)
_CONTENTS = frozenset({"parse_content", "parse_segments", "llm_content"})
_SIZE = func.coalesce(results.c.content_size, 0)
_PAGE: Select[Any] = select(
    *(
        case((bindparam("small") >= _SIZE, column)).label(column.name)
        if column.name in _CONTENTS
        else column
        for column in _RESULT
    ),
    _SIZE.label("size_of_contents"),
).select_from(_JOINED)
"""A page's results; contents that are not small are left out, and asked for by their files."""


@cache
def _of_files(kind: Kind) -> Select[Any]:
    return select(*_RESULT).select_from(_JOINED).where(among(kind, files.c.id, "ids"))


class ResultStore(Repository):
    """Results and stories."""

    def results(
        self,
        batch: BatchId,
        states: Collection[FileState] | None = None,
        codes: Collection[str] | None = None,
    ) -> Iterator[FileResult]:
        """Every file of the batch in its turn, a page at a time: memory stays flat."""
        chosen: list[ColumnElement[bool]] = [files.c.batch_id == batch]
        if states is not None:
            chosen.append(files.c.state.in_(sorted(state.value for state in states)))
        if codes is not None:
            chosen.append(files.c.error_code.in_(sorted(map(clean, codes))))
        return self._pages(chosen, self._turns(batch))

    @reads
    def _turns(self, tx: Transaction, batch: BatchId) -> int:
        row = tx.run(select(batches.c.next_turn).where(batches.c.id == batch)).one_or_none()
        if row is None:
            raise UnknownBatch(f"no batch {batch}")
        return int(row.next_turn)

    def _pages(self, chosen: Sequence[ColumnElement[bool]], turns: int) -> Iterator[FileResult]:
        """The pages, each read while the caller is busy with the one before."""
        starts = iter(range(0, turns, PAGE_FILES))
        with ThreadPoolExecutor(1, "results") as reader:
            ahead = (reader.submit(self._page, chosen, start) for start in starts)
            coming = next(ahead, None)
            while coming is not None:
                page, coming = coming.result(), next(ahead, None)
                yield from self._filled(page)

    @reads
    def _page(
        self, tx: Transaction, chosen: Sequence[ColumnElement[bool]], start: int
    ) -> Sequence[Row[Any]]:
        """The files of some turns, with such contents as can't be too much for memory together."""
        # A range of turns, not a LIMIT: no planner can mistake it for a reason to sort the batch.
        page = _PAGE.where(*chosen, files.c.turn.between(start, start + PAGE_FILES - 1))
        return tx.run(page.order_by(files.c.turn), {"small": _small()}).all()

    def _filled(self, page: Sequence[Row[Any]]) -> Iterator[FileResult]:
        """The page's results; where contents are large, as many files at a time as fit."""
        portions = iter(_portions([row for row in page if row.size_of_contents > _small()]))
        known: dict[UUID, Row[Any] | None] = {}
        for row in page:
            if row.size_of_contents <= _small():
                yield _file_result(row)
                continue
            if row.id not in known:
                portion = next(portions)
                known = dict.fromkeys(portion) | self._whole(portion)
            if (whole := known.pop(row.id)) is not None:  # else it was pruned meanwhile
                yield _file_result(whole)

    @reads
    def _whole(self, tx: Transaction, ids: Sequence[UUID]) -> dict[UUID, Row[Any]]:
        return {row.id: row for row in tx.run(_of_files(tx.kind), {"ids": list(ids)})}

    @reads
    def story(self, tx: Transaction, file: FileId) -> FileStory:
        """One file's whole story."""
        row = tx.run(_WHOLE.where(files.c.id == file)).one_or_none()
        if row is None:
            raise UnknownFile(f"no file {file}")
        return FileStory(_file_result(row), _events(tx, row), _uploads(tx, file), _place(row))


def _place(row: Row[Any]) -> FilePlace | None:
    if row.next_at is None:
        return None
    return FilePlace(
        due_at=row.next_at,
        held=row.lease_token is not None,
        crew=Crew(row.crew),
        failures=row.failures,
        deadline_at=row.deadline_at,
    )


def _small() -> int:
    """Characters of contents that come with their page, however many files it has."""
    return PAGE_CHARACTERS // PAGE_FILES


def _portions(rows: Sequence[Row[Any]]) -> Iterator[list[UUID]]:
    """The files, as many at a time as fit in memory together, and at least one."""
    portion: list[UUID] = []
    filled = 0
    for row in rows:
        if portion and filled + row.size_of_contents > PAGE_CHARACTERS:
            yield portion
            portion, filled = [], 0
        portion.append(row.id)
        filled += row.size_of_contents
    if portion:
        yield portion


_STATES = {state.value: state for state in FileState}


def _file_result(row: Row[Any]) -> FileResult:
    (
        batch, file, source, name, size, sha256, category, number, status, state, code, message,
        content, segments, answer, uploads_made, polls, submitted, finished, sanitized, reused,
    ) = row[: len(_RESULT)]  # fmt: skip
    return FileResult(
        batch,
        file,
        source,
        name,
        size,
        sha256,
        category,
        number,
        status,
        _STATES[state],
        code,
        message,
        content,
        None if segments is None else json.loads(segments),
        answer,
        uploads_made,
        polls,
        submitted,
        finished,
        bool(sanitized),
        reused,
    )


def _events(tx: Transaction, file: Row[Any]) -> tuple[FileEvent, ...]:
    chosen = select(file_events).where(file_events.c.file_id == file.id).order_by(file_events.c.id)
    handed_in = FileEvent(file.created_at, FileState.QUEUED.value, FileState.QUEUED, None, None)
    later = [
        FileEvent(row.at, row.event, FileState(row.state), row.code, row.message, row.seconds)
        for row in tx.run(chosen)
    ]
    return (handed_in, *later)


def _uploads(tx: Transaction, file: FileId) -> tuple[UploadEntry, ...]:
    chosen = (
        select(
            uploads,
            dialogs.c.chatflow_dialog_id,
            dialogs.c.session_id,
        )
        .join(dialogs, dialogs.c.id == uploads.c.dialog_id)
        .where(uploads.c.file_id == file)
        .order_by(uploads.c.attempt)
    )
    return tuple(_upload(row) for row in tx.run(chosen))


def _upload(row: Row[Any]) -> UploadEntry:
    return UploadEntry(
        id=UploadId(row.id),
        attempt=row.attempt,
        state=UploadState(row.state),
        category=row.category,
        chatflow_dialog_id=row.chatflow_dialog_id,
        session_id=row.session_id,
        chatflow_file_id=row.chatflow_file_id,
        code=row.code,
        message=row.message,
        created_at=row.created_at,
        sent_at=row.sent_at,
        ended_at=row.ended_at,
    )
