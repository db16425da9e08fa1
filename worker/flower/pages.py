"""`/batches` and what is below, under Flower's own login and in its frame."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TypeVar

from flower import urls
from flower.views import BaseHandler
from tornado import web
from tornado.escape import xhtml_escape
from tornado.template import Loader, Template

from worker.adapters.database import SqlStore
from worker.adapters.pages import live
from worker.adapters.pages.engine import text_of
from worker.adapters.pages.report import Subject
from worker.bootstrap import open_existing
from worker.core.figures import Figures
from worker.core.lifecycle import BatchState, FileState
from worker.core.model.ids import BatchId, FileId
from worker.errors import IngestError, UnknownBatch, UnknownFile
from worker.settings import Settings

LISTED = 50
"""Batches on the list, the newest."""

ROWS = 100
"""Files on one leaf of a batch's table."""

REFRESH = 5.0
REFRESH_SHARE = 10.0
"""Seconds between two looks of an open page, and how many times longer than a look it is."""

FRAME = "ingest-frame.html"

Seen = TypeVar("Seen")


def add_pages() -> None:
    """Add the pages and the link to them to the Flower that is about to start."""
    desk = Desk()
    kept = [each for each in urls.handlers if getattr(each, "name", None) not in _NAMES]
    urls.handlers[:] = [
        web.url(r"/batches", BatchesPage, {"desk": desk}, name=_NAMES[0]),
        web.url(r"/batches/([^/]+)", BatchPage, {"desk": desk}, name=_NAMES[1]),
        web.url(r"/batches/([^/]+)/files/([^/]+)", FilePage, {"desk": desk}, name=_NAMES[2]),
        *kept,
    ]
    urls.settings["template_loader"] = Templates(urls.settings["template_path"])


_NAMES = ("batches", "batch", "batch_file")


class Templates(Loader):
    """Flower's templates, with a link in its navigation, and the frame of our pages."""

    def _create_template(self, name: str) -> Template:
        if name == FRAME:
            return Template(_text(Path(__file__).with_name("frame.html")), name=name, loader=self)
        if name == "navbar.html":
            return Template(linked(_text(Path(self.root) / name)), name=name, loader=self)
        return super()._create_template(name)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def linked(navbar: str) -> str:
    """Flower's navigation with our link at the end of its first list."""
    link = (
        '<li class="nav-item"><a class="nav-link{% if active_tab == \'batches\' %} active{% end %}"'
        " href=\"{{ reverse_url('batches') }}\">Batches</a></li>"
    )
    return navbar.replace("</ul>", f"{link}</ul>", 1)


class Desk:
    """The database, opened when somebody looks for the first time, and a batch's newest figures."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._store: SqlStore | None = None
        self._subjects: dict[BatchId, tuple[float, Subject, float]] = {}

    def store(self) -> SqlStore:
        """The database.

        Raises:
            IngestError: it is away, or not there yet.
        """
        with self._lock:
            if self._store is None:
                self._store = open_existing(Settings.load())
            return self._store

    def subject(self, batch: BatchId) -> tuple[Subject, float]:
        """A batch's figures, and the seconds until they are worth another look."""
        now = time.monotonic()
        with self._lock:
            until, subject, pause = self._subjects.get(batch, (0.0, None, 0.0))
        if subject is None or now >= until:
            subject = self._gathered(batch)
            pause = max(REFRESH, REFRESH_SHARE * (time.monotonic() - now))
            with self._lock:
                self._subjects = {
                    key: kept for key, kept in self._subjects.items() if kept[0] > now
                } | {batch: (now + pause - 1.0, subject, pause)}
        return subject, pause

    def _gathered(self, batch: BatchId) -> Subject:
        store = self.store()
        status, now = store.status(batch), store.now()
        ended = status.finished_at
        figures = Figures(status.started_at.timestamp(), ended.timestamp() if ended else now)
        for line in store.lines(batch):
            figures.add(line)
        made_at = datetime.fromtimestamp(now, UTC)
        return Subject(status, store.details(batch), store.reasons(batch), figures, made_at, 0)


class _Page(BaseHandler):  # type: ignore[misc]  # Flower has no types
    """A page of ours: read in a thread, drawn in Flower's frame."""

    def initialize(self, desk: Desk) -> None:
        self.desk = desk

    @property
    def base(self) -> str:
        """The address of the list."""
        return str(self.reverse_url(_NAMES[0]))

    async def show(self, heading: str, look: Callable[[], tuple[str, float]]) -> None:
        """Look, in a thread, and show what came of it: a body, and when to look again."""
        try:
            body, seconds = await asyncio.get_running_loop().run_in_executor(None, look)
        except (UnknownBatch, UnknownFile) as error:
            raise web.HTTPError(404, error.message) from error
        except IngestError as error:
            self.set_status(503)
            body, seconds = f"<p>{xhtml_escape(error.message)}</p>", REFRESH
        self.render(
            FRAME, heading=heading, body=body, seconds=round(seconds, 1), style=live.style(),
            script=text_of("live.js"),
        )  # fmt: skip


class BatchesPage(_Page):
    """The newest batches: how far, how fast, how long still, and who attends to them."""

    @web.authenticated
    async def get(self) -> None:
        """Show the list."""
        await self.show("Batches", self._look)

    def _look(self) -> tuple[str, float]:
        store = self.desk.store()
        now = store.now()
        entries = [
            live.Entry(
                status,
                store.details(status.batch_id) if status.state is BatchState.RUNNING else None,
                now,
            )
            for status in store.batches(LISTED)
        ]
        return live.batches_body(entries, self.base), REFRESH


class BatchPage(_Page):
    """One batch: the report without contents."""

    @web.authenticated
    async def get(self, name: str) -> None:
        """Show the batch of this id, key or beginning of an id."""
        state = self.get_argument("state", "")
        if state and state not in set(FileState):
            raise web.HTTPError(404, "there is no such state")
        number = max(1, self.get_argument("page", 1, type=int))
        await self.show("Batch", partial(self._look, name, state, number))

    def _look(self, name: str, state: str, number: int) -> tuple[str, float]:
        batch = _batch(self.desk.store(), name)
        subject, pause = self.desk.subject(batch)
        lines = (
            line for line in self.desk.store().lines(batch) if not state or line.state == state
        )
        some = list(islice(lines, (number - 1) * ROWS, number * ROWS + 1))
        leaf = live.Leaf(some[:ROWS], state, number, more=len(some) > ROWS)
        running = subject.status.state is BatchState.RUNNING
        return live.batch_body(subject, leaf, self.base), pause if running else 0.0


class FilePage(_Page):
    """One file's story."""

    @web.authenticated
    async def get(self, name: str, file: str) -> None:
        """Show the file of this id, name or beginning of an id in the batch."""
        await self.show("File", partial(self._look, name, file))

    def _look(self, name: str, file: str) -> tuple[str, float]:
        store = self.desk.store()
        story = store.story(_file(store, _batch(store, name), file))
        body = live.file_body(story, store.now(), self.base)
        return body, 0.0 if story.result.state.is_terminal else REFRESH


def _batch(store: SqlStore, name: str) -> BatchId:
    """The one batch of this name.

    Raises:
        UnknownBatch: there is none, or several.
    """
    found = store.batches_named(name, 2)
    if len(found) != 1:
        raise UnknownBatch("several batches may be meant" if found else "there is no such batch")
    return found[0].batch_id


def _file(store: SqlStore, batch: BatchId, name: str) -> FileId:
    found = store.files_named(name, batch, 2)
    if len(found) != 1:
        raise UnknownFile("several files may be meant" if found else "there is no such file in it")
    return found[0].file_id
