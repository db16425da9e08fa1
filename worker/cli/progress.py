"""Progress of a batch, on stderr: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.cli.pace import Pace, duration_text, rate_text
from worker.cli.terminal import console_for, say, shown
from worker.core.lifecycle import FileState
from worker.core.model import BatchStatus

Report = Callable[[BatchStatus], None]

LINE_EVERY = 2.0
"""Seconds between two plain lines."""


def done(status: BatchStatus) -> int:
    """How many files are in a terminal state."""
    return sum(count for state, count in status.counts.items() if state.is_terminal)


def counts_text(status: BatchStatus) -> str:
    """The states that occur, in the order of a file's life."""
    counts = ((state, status.counts.get(state, 0)) for state in FileState)
    return ", ".join(f"{state} {count}" for state, count in counts if count)


@contextmanager
def progress() -> Iterator[Report]:
    """Give the function that takes a batch's status as often as there is one."""
    if sys.stderr.isatty():
        with _live() as report:
            yield report
    else:
        yield PlainLines()


class PlainLines:
    """A line when something has changed and some seconds have passed; always one at the end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pace = Pace()
        self._said_at: float | None = None
        self._said = ""

    def __call__(self, status: BatchStatus) -> None:
        """Take the newest status."""
        now = self._clock()
        self._pace.note(now, done(status))
        line = f"{_done_text(status)}: {counts_text(status)}{_held_text(status)}"
        ended = done(status) == status.total and status.sealed
        waited = self._said_at is None or now - self._said_at >= LINE_EVERY
        if line != self._said and (waited or ended):
            self._said, self._said_at = line, now
            say(line + _speed_text(self._pace, status))


@contextmanager
def _live() -> Iterator[Report]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    pace = Pace()
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    # stdout is left alone: it belongs to what was asked for.
    with Progress(
        *columns, console=console_for(terminal=True, stderr=True), redirect_stdout=False
    ) as bar:
        task = bar.add_task("", total=None, text="")

        def report(status: BatchStatus) -> None:
            pace.note(time.monotonic(), done(status))
            text = counts_text(status) + _held_text(status) + _speed_text(pace, status)
            bar.update(task, total=status.total, completed=done(status), text=text)

        yield report


def _done_text(status: BatchStatus) -> str:
    return f"{done(status)} of {status.total}{'' if status.sealed else ' or more'} done"


def _speed_text(pace: Pace, status: BatchStatus) -> str:
    left = status.total - done(status)
    remaining = pace.eta(left)
    if not left or not pace.rate or remaining is None:
        return ""
    return f" ({rate_text(pace.rate)}, {duration_text(remaining)} left)"


def _held_text(status: BatchStatus) -> str:
    if status.profile_state == "open":
        return ""
    reason = f": {shown(status.profile_reason)}" if status.profile_reason else ""
    return f" [profile {status.profile_state}{reason}]"
