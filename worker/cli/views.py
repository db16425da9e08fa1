"""How batches and files are shown to a human."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from worker.cli.program import command
from worker.cli.progress import counts_text, done, slow_lines
from worker.cli.terminal import shortened, shown, table
from worker.core.lifecycle import BatchState, FileState
from worker.core.model.batches import BatchStatus
from worker.core.model.ids import is_run
from worker.core.model.stories import FileResult
from worker.core.seen import BatchDetails, OpenBreaker
from worker.core.transcript import turns
from worker.core.words import counted, duration_text, range_text, rate_text

if TYPE_CHECKING:
    from rich.table import Table


def batch_table(status: BatchStatus, details: BatchDetails, now: float) -> Table:
    """One batch; `now` is the database's clock, POSIX seconds."""
    return table("batch", str(status.batch_id), rows=_batch_rows(status, details, now))


def _batch_rows(
    status: BatchStatus, details: BatchDetails, now: float
) -> Iterator[tuple[str, object]]:
    yield "state", status.state if status.sealed else f"{status.state} (being handed in)"
    if status.reason is not None:
        yield "reason", status.reason
    if status.external_key is not None:
        yield "external key", status.external_key
    yield "profile", status.profile
    if status.state is BatchState.RUNNING:
        yield "attended by", _attended_text(status, details)
        if held := _held_text(status, details):
            yield "held", held
    yield "files", status.total
    for state in FileState:
        if count := status.counts.get(state, 0):
            yield f"  {state}", count
    yield from _account_rows(details)
    yield "started", _moment(status.started_at)
    if status.finished_at is not None:
        yield "finished", _moment(status.finished_at)
    yield from _speed_rows(status, details, now)
    if status.oldest_in_flight is not None:
        yield "oldest in flight", duration_text(status.oldest_in_flight)
    for words in slow_lines(details):
        yield "slow", words


def _attended_text(status: BatchStatus, details: BatchDetails) -> str:
    match details.attended_by:
        case "run":
            return "a run"
        case "workers":
            return counted(details.workers, "worker")
        case "nobody" if is_run(status.crew):
            return f"nobody; go on with: {command('run', '--resume', status.batch_id)}"
        case "nobody":
            return "nobody; start a worker: celery -A worker worker"


def _held_text(status: BatchStatus, details: BatchDetails) -> str:
    """What keeps the batch from going on, nothing when nothing does."""
    if status.profile_state == "open":
        return "; ".join(map(_breaker_text, details.breakers))
    reason = f": {status.profile_reason}" if status.profile_reason else ""
    more = "" if details.held_for is None else f" for {duration_text(details.held_for)} more"
    return f"profile {status.profile_state}{more}{reason}"


def _breaker_text(each: OpenBreaker) -> str:
    return (
        f'a breaker that is open: category "{each.category}", {each.failures} in a row ended as '
        f"{each.code}; the next file goes ahead in {duration_text(each.canary_in)}"
    )


def _account_rows(details: BatchDetails) -> Iterator[tuple[str, object]]:
    if details.errors:
        yield "errors", ", ".join(f"{code} {count}" for code, count in details.errors.items())
    uploads = {name: number for name, number in asdict(details.uploads).items() if number}
    if uploads:
        yield "uploads", ", ".join(f"{number} {name}" for name, number in uploads.items())
    if details.notifications_waiting:
        yield "notifications", f"{details.notifications_waiting} to be sent"
    if details.notifications_dead:
        replay = command("notify", "replay")
        yield "notifications dead", f"{details.notifications_dead}; send again: {replay}"


def _speed_rows(
    status: BatchStatus, details: BatchDetails, now: float
) -> Iterator[tuple[str, object]]:
    end = now if status.finished_at is None else status.finished_at.timestamp()
    elapsed = end - status.started_at.timestamp()
    rate = done(status) / elapsed if elapsed > 0 else 0.0
    yield "rate", rate_text(rate)
    if status.state is BatchState.RUNNING:
        yield "time left", "unknown" if details.eta is None else range_text(*details.eta)


def batches_table(batches: Iterable[BatchStatus], width: int) -> Table:
    """A list of batches, with as many columns as fit beside the whole ids."""
    columns = [name for name, wanted in _LIST_COLUMNS.items() if width >= wanted]
    return table(
        *columns,
        rows=([_list_cells(status)[name] for name in columns] for status in batches),
    )


_LIST_COLUMNS = {
    "batch": 0,
    "state": 0,
    "done": 0,
    "started": 84,
    "external key": 100,
    "profile": 116,
    "by state": 140,
}
"""Each column of the list, and the terminal's width from which on there is room for it."""


def _list_cells(status: BatchStatus) -> dict[str, object]:
    return {
        "batch": status.batch_id,
        "state": status.state,
        "done": f"{done(status)}/{status.total}",
        "started": _moment(status.started_at),
        "external key": status.external_key,
        "profile": status.profile,
        "by state": counts_text(status),
    }


def _moment(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else None


def results_lines(results: Iterable[FileResult], width: int) -> Iterator[str]:
    """Results for a reader at a terminal: a line for each file, as it comes."""
    from rich.cells import set_cell_size

    room = max(16, min(32, width // 3))
    yield f"{'state':<10}  {'file':<{room}}  what came out"
    for result in results:
        name = set_cell_size(shortened(shown(result.name), room), room)
        reason = ": ".join(filter(None, (result.error_code, result.error_message)))
        said = reason or " / ".join(
            turn.text for turn in turns(result.parse_content, result.parse_segments)
        )
        line = f"{result.state:<10}  {name}  {shown(' '.join(said.split()))}"
        yield shortened(line, width)
