"""One file's story in words: what happened when, and what comes next. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from worker.core.lifecycle import FileState
from worker.core.model.files import UploadState
from worker.core.model.ids import is_run
from worker.core.model.stories import FilePlace, FileStory, UploadEntry
from worker.core.words import counted, duration_text

Moment = tuple[datetime, str, str | None]
"""When, what, and the words that go with it."""


def moments(story: FileStory) -> list[Moment]:
    """Events and uploads as one timeline."""
    return sorted([*_events(story), *_uploads(story)], key=lambda moment: moment[0])


def next_text(state: FileState, place: FilePlace, now: float) -> str:
    """What an open file waits for, and who has it; `now` in POSIX seconds."""
    due_in = max(0.0, place.due_at.timestamp() - now)
    who = "a run" if is_run(place.crew) else "a worker"
    if place.held:
        return f"in {who}'s hands; if it dies, taken up again in {duration_text(due_in)}"
    what = "asked for its status" if state is FileState.POLLING else "uploaded"
    when = f"in {duration_text(due_in)}" if due_in else "as soon as somebody is free"
    calls = counted(place.failures, "call")
    why = f", after {calls} in a row that failed" if place.failures else ""
    deadline = ""
    if place.deadline_at is not None:
        left = max(0.0, place.deadline_at.timestamp() - now)
        deadline = f"; its deadline is in {duration_text(left)}"
    return f"to be {what} {when}{why}{deadline}"


def _events(story: FileStory) -> Iterator[Moment]:
    for number, event in enumerate(story.events):
        what = "handed in" if number == 0 else _event_text(event.event, event.state)
        took = None if event.seconds is None else f"after {event.seconds:.2f} s"
        words = ", ".join(filter(None, (took, _words(event.code, event.message))))
        yield event.at, what, words or None


def _event_text(event: str, state: FileState) -> str:
    name = event.replace("_", " ")
    return name if event == state else f"{name} ({state})"


def _uploads(story: FileStory) -> Iterator[Moment]:
    for upload in story.uploads:
        where = ", ".join(filter(None, (upload.category, _dialog(upload))))
        began = f"upload {upload.attempt} {'sent' if upload.sent_at else 'planned'}"
        yield upload.sent_at or upload.created_at, began, where
        if upload.ended_at is not None:
            yield upload.ended_at, f"upload {upload.attempt} {upload.state}", _ending(upload)


def _dialog(upload: UploadEntry) -> str | None:
    return upload.chatflow_dialog_id and f"dialog {upload.chatflow_dialog_id}"


def _ending(upload: UploadEntry) -> str:
    took = ""
    if upload.ended_at is not None and upload.sent_at is not None:
        took = f"after {(upload.ended_at - upload.sent_at).total_seconds():.2f} s"
    theirs = f"as {upload.chatflow_file_id}" if upload.state is UploadState.ACCEPTED else None
    return ", ".join(filter(None, (theirs, took, _words(upload.code, upload.message))))


def _words(code: str | None, message: str | None) -> str | None:
    return ": ".join(filter(None, (code, message))) or None
