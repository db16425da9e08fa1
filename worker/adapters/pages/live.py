"""What Flower shows: batches, one batch without contents, one file's story; pieces of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from worker.adapters.pages.engine import environment, text_of
from worker.adapters.pages.report import Subject, summary, took
from worker.core.lifecycle import FileState
from worker.core.model.batches import BatchStatus
from worker.core.model.stories import FileStory
from worker.core.seen import BatchDetails, FileLine
from worker.core.story import moments, next_text
from worker.core.words import counted, duration_text, range_text, rate_text

_COLOURS = (
    "--page:var(--flower-surface-subtle);--card:var(--flower-surface);--ink:var(--bs-body-color);"
    "--soft:var(--flower-text-muted);--line:var(--bs-border-color);"
)
"""Flower's own colours, which follow its switch between light and dark."""


def style() -> str:
    """The report's style inside of Flower's page: it holds for what is of class `ingest` alone."""
    light, _, dark = text_of("theme.css").partition("@media")
    states = light.partition("{")[2].rpartition("}")[0]
    at_night = dark.partition(":root{")[2].partition("}")[0]
    return (
        f".ingest{{{states};{_COLOURS}font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere;"
        f"max-width:1180px;margin:0 auto;padding:16px 10px;{text_of('parts.css')}}}"
        f'[data-bs-theme="dark"] .ingest{{{at_night};{_COLOURS}}}'
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch of the list; `details` only while it runs."""

    status: BatchStatus
    details: BatchDetails | None
    now: float

    @property
    def done(self) -> int:
        """Files that have ended."""
        counts = self.status.counts
        return sum(number for state, number in counts.items() if state.is_terminal)

    @property
    def unsuccessful(self) -> int:
        """Files that have ended without success."""
        return self.done - self.status.counts.get(FileState.SUCCEEDED, 0)

    @property
    def rate(self) -> str:
        """Files a second or a minute, from the beginning to the end or to now."""
        ended = self.status.finished_at
        until = self.now if ended is None else ended.timestamp()
        elapsed = until - self.status.started_at.timestamp()
        return rate_text(self.done / elapsed) if elapsed > 0 else ""

    @property
    def left(self) -> str:
        """The time left, while there is any."""
        if self.details is None:
            return ""
        return "unknown" if self.details.eta is None else range_text(*self.details.eta)

    @property
    def attended(self) -> str:
        """Who works on it, while it runs."""
        if self.details is None:
            return ""
        if self.details.attended_by == "workers":
            return counted(self.details.workers, "worker")
        return {"run": "a run", "nobody": "nobody"}[self.details.attended_by]


@dataclass(frozen=True, slots=True)
class Leaf:
    """Some of a batch's files: those of one state, or of every state for "".

    Attributes:
        number: which leaf, from 1.
        more: whether there is another one.
    """

    lines: Sequence[FileLine]
    state: str = ""
    number: int = 1
    more: bool = False


def batches_body(entries: Sequence[Entry], base: str) -> str:
    """The list of batches; `base` is the address of the list."""
    return environment().get_template("batches.html.j2").render(entries=entries, base=base)


def batch_body(subject: Subject, leaf: Leaf, base: str) -> str:
    """One batch: the report without contents, and some of its files."""
    return environment().get_template("live_batch.html.j2").render(
        **summary(subject), entry=Entry(subject.status, subject.details, _seconds(subject)),
        leaf=leaf, rows=[(line, took(line)) for line in leaf.lines], base=base,
        here=f"{base}/{subject.status.batch_id}", duration_text=duration_text,
    )  # fmt: skip


def file_body(story: FileStory, now: float, base: str) -> str:
    """One file's story, without its contents; `now` is the database's clock, POSIX seconds."""
    place = story.place
    return environment().get_template("file.html.j2").render(
        file=story.result,
        next=None if place is None else next_text(story.result.state, place, now),
        moments=[(_exact(at), what, words) for at, what, words in moments(story)],
        base=base,
    )  # fmt: skip


def _seconds(subject: Subject) -> float:
    return subject.made_at.timestamp()


def _exact(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(" ", "milliseconds")[:23]
