"""Progress of a batch, on stderr: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.cli import terminal
from worker.cli.rate import RateMeter
from worker.cli.terminal import console_for, say, shortened, shown
from worker.core.lifecycle import FileState
from worker.core.model.batches import BatchStatus
from worker.core.model.ids import BatchId, FileId
from worker.core.seen import BatchDetails, SlowFile
from worker.core.words import counted, duration_text, range_text, rate_text

Report = Callable[[BatchStatus], None]

Look = Callable[[BatchId], BatchDetails]

LINE_EVERY = 2.0
"""Seconds between two plain lines."""

GLANCE_EVERY = 2.0
GLANCE_SHARE = 20.0
"""Seconds between two closer looks, and how many times longer than a look took at least."""

STRAGGLES_AFTER = 10.0
"""Seconds without any file that ended from which on those at the service are stragglers."""


SLOW_NAMED = 3
"""Slow files that are named at a time."""


def done(status: BatchStatus) -> int:
    """How many files are in a terminal state."""
    return sum(count for state, count in status.counts.items() if state.is_terminal)


def counts_text(status: BatchStatus) -> str:
    """The states that occur, in the order of a file's life."""
    counts = ((state, status.counts.get(state, 0)) for state in FileState)
    return ", ".join(f"{state} {count}" for state, count in counts if count)


@contextmanager
def progress(look: Look | None = None) -> Iterator[Report]:
    """Give the function that takes a batch's status as often as there is one.

    A terminal that can move its cursor gets a live display, anything else a line now and then,
    and with --quiet there is nothing.

    Args:
        look: takes a closer look at the batch, for the time left; it is asked now and then.
    """
    if terminal.quiet():
        yield lambda _: None
    elif terminal.can_be_drawn_on(sys.stderr) and not terminal.speaks_json():
        with _live(look) as report:
            yield report
    else:
        yield PlainLines(look=look)


class PlainLines:
    """A line when something has changed and some seconds have passed; always one at the end."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, look: Look | None = None
    ) -> None:
        self._clock = clock
        self._pace = RateMeter()
        self._glances = Glances(look, clock)
        self._said_at: float | None = None
        self._said = ""
        self._slow: set[FileId] = set()

    def __call__(self, status: BatchStatus) -> None:
        """Take the newest status."""
        now = self._clock()
        self._pace.note(now, done(status))
        line = f"{_done_text(status)}: {counts_text(status)}{_held_text(status)}"
        ended = done(status) == status.total and status.sealed
        waited = self._said_at is None or now - self._said_at >= LINE_EVERY
        if line != self._said and (waited or ended):
            self._said, self._said_at = line, now
            details = self._glances(status)
            figures = _figures(self._pace, status, details)
            said = f"{line} ({', '.join(figures)})" if figures else line
            say(said, "progress", **_progress_fields(status, details))
            self._say_slow(details)

    def _say_slow(self, details: BatchDetails | None) -> None:
        """Once for each file: its time is in the next lines' counts."""
        slow = () if details is None else details.slow
        for file in slow[:SLOW_NAMED]:
            if file.file_id not in self._slow:
                say(f"slow: {slow_text(file)}", "slow_file", file=str(file.file_id))
        self._slow |= {file.file_id for file in slow}


class Glances:
    """Looks closely at a batch, but no oftener than a look is worth."""

    def __init__(self, look: Look | None, clock: Callable[[], float]) -> None:
        self._look = look
        self._clock = clock
        self._next = 0.0
        self._seen: BatchDetails | None = None

    def __call__(self, status: BatchStatus) -> BatchDetails | None:
        """The newest details, None when there are none."""
        now = self._clock()
        if self._look is not None and now >= self._next:
            self._seen = self._look(status.batch_id)
            took = self._clock() - now
            self._next = now + max(GLANCE_EVERY, GLANCE_SHARE * took)
        return self._seen


@contextmanager
def _live(look: Look | None) -> Iterator[Report]:
    from rich.live import Live

    from worker.cli.board import Board

    pace, board, glances = RateMeter(), Board(), Glances(look, time.monotonic)
    console = console_for(terminal=True, stderr=True)

    def report(status: BatchStatus) -> None:
        pace.note(time.monotonic(), done(status))
        details = glances(status)
        figures = _figures(pace, status, details)
        below = [counts_text(status) + _held_text(status), *slow_lines(details)]
        board.show(done(status), status.total, figures, below)

    # stdout is left alone: it belongs to what was asked for. What is said meanwhile goes through
    # the same console, which keeps it above the bar.
    live = Live(board, console=console, redirect_stdout=False, refresh_per_second=8)
    with live, terminal.speaking_through(console):
        try:
            yield report
        finally:
            board.end()


def _done_text(status: BatchStatus) -> str:
    return f"{done(status)} of {status.total}{'' if status.sealed else ' or more'} done"


def _figures(pace: RateMeter, status: BatchStatus, details: BatchDetails | None) -> list[str]:
    """Rate and time left, or what the last files wait for."""
    left = status.total - done(status)
    if not left:
        return []
    figures = [rate_text(pace.rate)] if pace.rate else []
    if status.profile_state != "open":  # what holds it, and why, is said beside the figures
        held_for = None if details is None else details.held_for
        return figures if not held_for else [*figures, f"{duration_text(held_for)} more"]
    if details is not None and details.flight is not None and not pace.rate and pace.is_full:
        flight = details.flight
        if flight.count == left and flight.newest > STRAGGLES_AFTER:
            files = "1 file waits" if left == 1 else f"{left} files wait"
            return [f"{files} for their deadline, {duration_text(flight.deadline)} at most"]
    if details is not None and details.eta is not None:
        figures.append(f"{range_text(*details.eta)} left")
    elif (remaining := pace.eta(left)) is not None and pace.rate:
        figures.append(f"{duration_text(remaining)} left")
    return figures


def _progress_fields(status: BatchStatus, details: BatchDetails | None) -> dict[str, object]:
    return {
        "batch": str(status.batch_id),
        "done": done(status),
        "total": status.total,
        "counts": {state.value: count for state, count in status.counts.items() if count},
        "profile_state": status.profile_state,
        "eta_seconds": None if details is None else details.eta,
    }


def slow_text(file: SlowFile) -> str:
    """How long a file takes, and how long its kind usually does."""
    took, usual = duration_text(file.seconds), duration_text(file.usual)
    name = shortened(shown(file.name), 40)
    return f"{name} parsing for {took}, p95 of {shown(file.kind)} is {usual}"


def slow_lines(details: BatchDetails | None) -> list[str]:
    """The slowest files, and how many there are besides them."""
    slow = () if details is None else details.slow
    lines = [slow_text(file) for file in slow[:SLOW_NAMED]]
    more = len(slow) - len(lines)
    return [*lines, f"and {counted(more, 'more slow file')}"] if more else lines


def _held_text(status: BatchStatus) -> str:
    if status.profile_state == "open":
        return ""
    reason = f": {shown(status.profile_reason)}" if status.profile_reason else ""
    return f" [profile {status.profile_state}{reason}]"
