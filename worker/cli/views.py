"""How batches and files are shown to a human."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from worker.cli.pace import duration_text, eta, rate_text
from worker.cli.progress import counts_text, done
from worker.cli.terminal import shown_block, table
from worker.core.lifecycle import BatchState, FileState
from worker.core.model import BatchStatus, FileEvent, FileResult, FileStory, UploadEntry
from worker.core.report import iso
from worker.core.result_line import result_line

if TYPE_CHECKING:
    from rich.table import Table


def batch_table(status: BatchStatus, now: float) -> Table:
    """One batch; `now` is the database's clock, POSIX seconds."""
    return table("batch", str(status.batch_id), rows=_batch_rows(status, now))


def _batch_rows(status: BatchStatus, now: float) -> Iterator[tuple[str, object]]:
    yield "state", status.state if status.sealed else f"{status.state} (being handed in)"
    yield "external key", status.external_key
    yield "profile", status.profile
    yield "profile state", _profile_state(status)
    yield "files", status.total
    for state in FileState:
        if count := status.counts.get(state, 0):
            yield f"  {state}", count
    yield "started", _moment(status.started_at)
    yield "finished", _moment(status.finished_at)
    yield from _speed_rows(status, now)
    if status.oldest_in_flight is not None:
        yield "oldest in flight", duration_text(status.oldest_in_flight)


def _speed_rows(status: BatchStatus, now: float) -> Iterator[tuple[str, object]]:
    end = now if status.finished_at is None else status.finished_at.timestamp()
    elapsed = end - status.started_at.timestamp()
    rate = done(status) / elapsed if elapsed > 0 else 0.0
    yield "rate", rate_text(rate)
    if status.state is BatchState.RUNNING:
        remaining = eta(rate, status.total - done(status))
        yield "time left", "unknown" if remaining is None else duration_text(remaining)


def _profile_state(status: BatchStatus) -> str:
    reason = f": {status.profile_reason}" if status.profile_reason else ""
    return f"{status.profile_state}{reason}"


def batches_table(batches: Iterable[BatchStatus]) -> Table:
    """A list of batches."""
    return table(
        "batch",
        "state",
        "profile",
        "external key",
        "files",
        "by state",
        "started",
        rows=(
            (
                status.batch_id,
                status.state,
                status.profile,
                status.external_key,
                status.total,
                counts_text(status),
                _moment(status.started_at),
            )
            for status in batches
        ),
    )


def story_object(story: FileStory) -> dict[str, Any]:
    """One file's story as JSON values: its result line, its events and its uploads."""
    return result_line(story.result) | {
        "events": [_plain(asdict(event)) for event in story.events],
        "uploads": [_plain(asdict(upload)) for upload in story.uploads],
    }


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {key: _plain_value(value) for key, value in record.items()}


def _plain_value(value: Any) -> Any:
    match value:
        case datetime():
            return iso(value)
        case None | int():
            return value
        case _:
            return str(value)


def story_parts(story: FileStory) -> Iterator[Table | str]:
    """One file's story, a part at a time: tables, and the contents as text."""
    yield table("file", str(story.result.file_id), rows=_result_rows(story.result))
    yield _events_table(story.events)
    if story.uploads:
        yield _uploads_table(story.uploads)
    for name in ("parse_content", "llm_content"):
        text = getattr(story.result, name)
        if text is not None:
            yield f"{name}:\n{shown_block(text)}\n"


def _result_rows(result: FileResult) -> Iterator[tuple[str, object]]:
    apart = {"file_id", "parse_content", "parse_segments", "llm_content"}
    for name, value in result_line(result).items():
        if name not in apart and value is not None:
            yield name, value


def _events_table(events: Iterable[FileEvent]) -> Table:
    return table(
        "at (UTC)",
        "event",
        "state",
        "code",
        "message",
        rows=((_exact(e.at), e.event, e.state, e.code, e.message) for e in events),
    )


def _uploads_table(uploads: Iterable[UploadEntry]) -> Table:
    return table(
        "upload",
        "state",
        "category",
        "dialog",
        "chatflow file",
        "begun",
        "ended",
        "error",
        rows=(
            (
                upload.attempt,
                upload.state,
                upload.category,
                upload.chatflow_dialog_id,
                upload.chatflow_file_id,
                _exact(upload.sent_at or upload.created_at),
                _exact(upload.ended_at),
                ": ".join(filter(None, (upload.code, upload.message))),
            )
            for upload in uploads
        ),
    )


def _moment(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else None


def _exact(moment: datetime | None) -> str | None:
    """To the millisecond: in a file's story the order and the gaps are what one looks for."""
    return moment.astimezone(UTC).isoformat(" ", "milliseconds")[:23] if moment else None
