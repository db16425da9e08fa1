"""The service, the sources, the broker and the log in memory: one verb each, no socket, no thread."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from worker.core.model.files import Examined
from worker.core.model.ids import DialogId
from worker.core.model.wire import (
    Category,
    DialogSession,
    ParseMethod,
    StatusReply,
    UploadForm,
    UploadNode,
    UploadReply,
)
from worker.errors import (
    CredentialsRefused,
    IngestError,
    NoUploadNode,
    Redirected,
    ServiceBusy,
    ServiceFault,
    ServiceUnreachable,
    SourceRejected,
    UploadRefused,
    UploadUnknown,
)

AUDIO = Category(1, "Audio", ("wav", "mp3"), 2, "audio_text", (ParseMethod("", "text", ""),))
TEXT = Category(2, "Text", ("txt",), 3, "plain_text")
NODE = UploadNode("flow-1", "session-1", "node-1", (AUDIO, TEXT))


class Events:
    """What was logged and counted."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.spans: list[tuple[str, Any, str | None]] = []

    @property
    def names(self) -> list[str]:
        """The events' names, in the order in which they happened."""
        return [name for name, _ in self.events]

    def said(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """The events of this name that had these fields, among others."""
        return [
            each for what, each in self.events if what == name and fields.items() <= each.items()
        ]

    def event(self, name: str, **fields: object) -> None:
        self.events.append((name, fields))

    def count(self, metric: str, amount: float = 1.0, **labels: str) -> None:
        _check_labels(metric, labels)
        self.counts[metric, *labels.values()] += amount

    def observe(self, metric: str, seconds: float, **labels: str) -> None:
        self.count(metric, **labels)

    def span(self, name, file, seconds, error=None, **facts) -> None:
        self.spans.append((name, file, error))

    def whole(self, whose, since, batch=None, error=None, **facts) -> None:
        self.spans.append(("batch" if batch is None else "file", whose, error))

    def handed_in(self, batch, carrier) -> None:
        self.spans.append(("hand in", batch, None))

    def close(self) -> None:
        pass


LABELS = MappingProxyType(
    {
        "chatflow_ingest_calls_total": {"profile", "channel", "outcome"},
        "chatflow_ingest_dialog_noise_total": {"profile"},
        "chatflow_ingest_uploads_total": {"profile", "outcome"},
        "chatflow_ingest_files_ended_total": {"profile", "state"},
        "chatflow_ingest_retries_total": {"profile", "cause"},
        "chatflow_ingest_lag_seconds": {"profile"},
        "chatflow_ingest_messages_refused_total": {"part"},
        "chatflow_ingest_call_seconds": {"profile", "channel"},
    }
)
"""Each metric's labels, as `ports.telemetry` tells them."""


def _check_labels(metric: str, labels: dict[str, str]) -> None:
    if labels.keys() != LABELS[metric]:
        raise ValueError(f"{metric} has the labels {LABELS[metric]}")


class FakeWaker:
    """Remembers who was woken for what; `away` says that nobody can be."""

    def __init__(self) -> None:
        self.woken: list[tuple[Any, ...]] = []
        self.away = False

    def wake(self, profile: str, crew: str, lane: str) -> None:
        self._wake(profile, crew, lane)

    def wake_notify(self) -> None:
        self._wake("notify")

    def send_notification(self, task: str, queue: str | None, payload: dict[str, Any]) -> None:
        if self.away:
            raise ServiceUnreachable("no connection to the broker")
        self._wake(task, queue, payload)

    def _wake(self, *whom: Any) -> None:
        if not self.away:
            self.woken.append(whom)


# --- sources -------------------------------------------------------------------------------------


@dataclass
class FakeContent:
    """A file in memory; `failure` breaks its reading off at the end."""

    name: str
    data: bytes
    failure: Exception | None = None
    sha256: str | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    async def chunks(self):
        yield self.data
        if self.failure is not None:
            raise self.failure
        self.sha256 = hashlib.sha256(self.data).hexdigest()


@dataclass
class FakeSource:
    """A file that was looked at; `refusal` is what opening it says by now."""

    name: str
    data: bytes
    failure: Exception | None = None
    refusal: SourceRejected | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    known_digest: str | None = None

    async def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @asynccontextmanager
    async def open(self):
        if self.refusal is not None:
            raise self.refusal
        yield FakeContent(self.name, self.data, self.failure)


class FakeSources:
    """Every source is there, and holds its own name, unless `refused` says why it is not."""

    def __init__(self) -> None:
        self.refused: dict[str, SourceRejected] = {}
        self.broken: dict[str, Exception] = {}

    def _found(self, source: str) -> FakeSource | SourceRejected:
        name = source.rpartition("/")[2]
        return self.refused.get(source) or FakeSource(
            name, source.encode(), self.broken.get(source)
        )

    def examine(self, source: str) -> Examined:
        found = self._found(source)
        if isinstance(found, SourceRejected):
            raise found
        return Examined(found.name, found.size)

    def look(self, sources):
        return [self._found(source) for source in sources]

    def open(self, source: str):
        found = self._found(source)
        if isinstance(found, SourceRejected):
            raise found
        return found.open()


# --- the service ---------------------------------------------------------------------------------


@dataclass
class Taken:
    """An upload that the service took, and what it will say about it, a reply for each call."""

    id: str
    form: UploadForm
    data: bytes
    replies: deque[StatusReply] = field(default_factory=deque)


def parsed(text: str, status: int = 7) -> StatusReply:
    """A reply with contents."""
    return StatusReply(status, "", text, None)


def on_the_way(status: int = 4) -> StatusReply:
    """A reply that says: not yet."""
    return StatusReply(status, "", None, None)


def failed(status: int, text: str | None = None, words: str = "it failed") -> StatusReply:
    """A reply that says that it went wrong."""
    return StatusReply(status, words, text, None)


NO_SUCH_FILE = "400012"
"""The envelope's code for an id that the service does not know."""

RETRY_AFTER = 7.0
"""Seconds that a busy service asks for."""

_BUSY = partial(ServiceBusy, "HTTP 429", retry_after=RETRY_AFTER)
_ALL_BUSY = partial(ServiceBusy, "HTTP 503", retry_after=RETRY_AFTER, everything=True)

TROUBLES: MappingProxyType[str, dict[str, Callable[[], IngestError]]] = MappingProxyType(
    {
        "open": {
            "throttled": _BUSY,
            "overloaded": _ALL_BUSY,
            "unreachable": partial(ServiceUnreachable, "no connection"),
            "unauthorized": partial(CredentialsRefused, "HTTP 401"),
            "moved": partial(Redirected, "HTTP 302"),
            "broken": partial(ServiceFault, "the connection was reset"),
            "no node": partial(NoUploadNode, "the robot chats"),
        },
        "upload": {
            "throttled": _BUSY,
            "overloaded": _ALL_BUSY,
            "unreachable": partial(ServiceUnreachable, "no connection"),
            "unauthorized": partial(
                UploadRefused, "HTTP 401", code="400401", blames_credentials=True
            ),
            "moved": partial(Redirected, "HTTP 302"),
            "refused": partial(UploadRefused, "400123 not now", code="400123"),
            "rejected": partial(UploadRefused, "HTTP 400", code="400400", permanent=True),
            "lost": partial(UploadUnknown, "the reply was lost"),
        },
        "ask": {
            "throttled": _BUSY,
            "overloaded": _ALL_BUSY,
            "unreachable": partial(ServiceUnreachable, "no connection"),
            "unauthorized": partial(
                ServiceFault, "HTTP 401", code="http_401", blames_credentials=True
            ),
            "moved": partial(Redirected, "HTTP 302"),
            "refused": partial(ServiceFault, "400123 not now", code="400123"),
            "broken": partial(ServiceFault, "HTTP 500", code="http_500"),
        },
    }
)
"""What each verb may meet, by names of our own, and the error that the real adapters make of it."""


class FakeService:
    """Opens dialogs, takes uploads, tells their status: the ports Dialogs, Uploads and Statuses.

    Unless `replies` says otherwise for a file's name, an upload is on its way when it is first
    asked for, and then has been parsed into `text_of` its id.
    """

    def __init__(self, node: UploadNode = NODE) -> None:
        self.node = node
        self.taken: list[Taken] = []
        self.calls: Counter[str] = Counter()
        self.replies: dict[str, list[list[StatusReply]]] = defaultdict(list)
        self._troubles: dict[str, deque[str]] = defaultdict(deque)
        self._meanwhile: dict[str, deque[Callable[[], object]]] = defaultdict(deque)

    def meet(self, verb: str, *troubles: str) -> None:
        """The next calls of `open`, `upload` or `ask` meet these of `TROUBLES`; "" is none."""
        self._troubles[verb] += troubles

    def meanwhile(self, verb: str, *work: Callable[[], Awaitable[object] | object]) -> None:
        """The next calls are answered once this has happened; an upload was taken by then."""
        self._meanwhile[verb] += work

    def will_say(self, name: str, *replies: StatusReply) -> None:
        """What the next upload of this name is answered, a reply for each call."""
        self.replies[name].append(list(replies))

    @staticmethod
    def text_of(chatflow_file_id: str) -> str:
        return f"what {chatflow_file_id} holds"

    async def open(self) -> DialogSession:
        await self._answer("open", self._begin("open"))
        return DialogSession(
            DialogId(uuid4()), str(1017340986451495206 + self.calls["open"]), self.node
        )

    async def upload(self, form: UploadForm, content) -> UploadReply:
        trouble = self._begin("upload")
        data = b"".join([chunk async for chunk in content.chunks()])
        taken = self.take(form, data) if trouble in {"", "lost"} else None
        await self._answer("upload", trouble)
        assert taken is not None
        return UploadReply(taken.id, 1)

    def take(self, form: UploadForm, data: bytes) -> Taken:
        """Take a file, whatever becomes of the reply."""
        taken = Taken(str(len(self.taken) + 1), form, data)
        scripts = self.replies[form.file_name]
        script = scripts.pop(0) if scripts else [on_the_way(), parsed(self.text_of(taken.id))]
        taken.replies += script
        self.taken.append(taken)
        return taken

    async def ask(self, chatflow_file_id: str) -> StatusReply:
        await self._answer("ask", self._begin("ask"))
        for taken in self.taken:
            if taken.id == chatflow_file_id:
                return taken.replies.popleft() if len(taken.replies) > 1 else taken.replies[0]
        raise ServiceFault("no such file", code=NO_SUCH_FILE)

    def _begin(self, verb: str) -> str:
        """A call begins; the trouble that it will meet, "" for none."""
        self.calls[verb] += 1
        return self._troubles[verb].popleft() if self._troubles[verb] else ""

    async def _answer(self, verb: str, trouble: str) -> None:
        if self._meanwhile[verb]:
            happening = self._meanwhile[verb].popleft()()
            if isawaitable(happening):
                await happening
        if trouble:
            error = TROUBLES[verb][trouble]()
            raise error
