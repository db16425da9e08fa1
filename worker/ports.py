"""What the steps need from the world: Protocols only, implemented at the edges.

The store is synchronous (steps call it from worker threads), talk with the service is
asynchronous. All waits and ages are seconds, and every moment is the database's, never a
worker's clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from worker.core.lifecycle import FileState, Lane
from worker.core.model import (
    BatchId,
    BatchStatus,
    Claim,
    Crew,
    DialogLoad,
    DialogSession,
    Due,
    ErrorNote,
    Examined,
    FileId,
    FileKind,
    FileResult,
    FileStory,
    LeaseToken,
    Leftover,
    NewBatch,
    Notification,
    Observation,
    Overview,
    SeenFile,
    Sending,
    StatusReply,
    UploadForm,
    UploadId,
    UploadReply,
    Verdict,
)
from worker.errors import Channel, SourceRejected

if TYPE_CHECKING:  # for every command imports this module, and waits for what it imports
    from worker.core.readiness import Sketch

EventName = Literal[
    "batch_finished",
    "credentials_refused",
    "dialog_failed",
    "files_failed",
    "notification_dead",
    "notification_failed",
    "notification_sent",
    "profile_frozen",
    "profile_paused",
    "profile_resumed",
    "profile_thawed",
    "schedule_fired",
    "schedule_failed",
    "step_failed",
    "store_unavailable",
    "taken_away",
    "take_away_failed",
    "unknown_status",
    "upload_unknown",
    "worker_draining",
    "worker_ready",
]
"""Every event that is logged."""

CounterName = Literal[
    "chatflow_ingest_calls_total",  # profile, channel, outcome
    "chatflow_ingest_uploads_total",  # profile, outcome
    "chatflow_ingest_files_ended_total",  # profile, state
]

HistogramName = Literal["chatflow_ingest_call_seconds"]  # profile, channel

# --- the service ---------------------------------------------------------------------------------


class Dialogs(Protocol):
    """Opens dialog sessions."""

    async def open(self) -> DialogSession:
        """Open one dialog and follow it to its upload node.

        Raises:
            CredentialsRefused: the service does not accept key, token or user name.
            NoUploadNode: the dialog ended, or failed, without an upload node.
            ServiceBusy: the handshake was answered 429 or 503.
            ServiceUnreachable: no connection came about.
            ServiceFault: reset, close code 1011 to 1013, or silence until the deadline.
        """
        ...


class SourceContent(Protocol):
    """An opened file: its bytes once, in order."""

    @property
    def name(self) -> str:
        """The file's own name, without folders."""
        ...

    @property
    def size(self) -> int:
        """Bytes that `chunks` will give."""
        ...

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes read so far: of the whole file once `chunks` is exhausted."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, a bounded piece at a time; reading blocks no event loop."""
        ...


class SourceFile(Protocol):
    """A file that was looked at, for one upload."""

    @property
    def name(self) -> str:
        """The file's own name, without folders."""
        ...

    @property
    def size(self) -> int:
        """Its bytes."""
        ...

    def open(self) -> AbstractAsyncContextManager[SourceContent]:
        """What it holds, once; a file that has not been read yet is opened again.

        Raises:
            SourceRejected: as `Sources.examine`.
        """
        ...


class Sources(Protocol):
    """Files that may be ingested."""

    def examine(self, source: str) -> Examined:
        """Look at a file without reading it.

        Raises:
            SourceRejected: with one of the codes not_found, not_a_file, unreadable, empty,
                too_large, outside_roots.
        """
        ...

    def look(self, sources: Sequence[str]) -> Sequence[SourceFile | SourceRejected]:
        """Look at many files and read the small ones: each, or why it is refused, in its place."""
        ...

    def open(self, source: str) -> AbstractAsyncContextManager[SourceContent]:
        """Open a file to read it once; the roots are checked again, on what was opened.

        Raises:
            SourceRejected: as `examine`.
        """
        ...


class Uploads(Protocol):
    """Submits files."""

    async def upload(self, form: UploadForm, content: SourceContent) -> UploadReply:
        """Send one file, streamed. Never repeated by the adapter.

        Raises:
            ServiceUnreachable: for certain nothing was sent.
            ServiceBusy: 429 or 503, for certain not taken.
            UploadRefused: another 4xx, or an envelope code other than success.
            CredentialsRefused: 401, 403.
            UploadUnknown: the request had begun and its reply is lost or unreadable, or 5xx.
            SourceRejected: the file could not be read to its end.
        """
        ...


class Statuses(Protocol):
    """Asks for a file's status."""

    async def ask(self, chatflow_file_id: str) -> StatusReply:
        """Ask once.

        Raises:
            ServiceUnreachable, ServiceBusy, ServiceFault: ask again later (also for an
                envelope code other than success, whose code and message it carries).
            CredentialsRefused: 401, 403.
        """
        ...


# --- the store -----------------------------------------------------------------------------------


class Batches(Protocol):
    """Handing files in and looking at them."""

    def create_batch(self, batch: NewBatch) -> bool:
        """Insert the batch unless one with its id exists; True when it is new.

        A new batch is unsealed: it can't finish before `seal`.
        """
        ...

    def add_files(self, batch: BatchId, sources: Sequence[str]) -> int:
        """Insert the sources that the batch does not have yet, as `queued` and due at once.

        A file's id is the UUIDv5 of its batch and source, so that adding twice adds once; its
        turn is its place in the batch. A finished batch that gains a file runs again; a
        cancelled one gains none. Returns how many were new.
        """
        ...

    def seal(self, batch: BatchId) -> None:
        """All files have been handed in: from now on the batch may finish."""
        ...

    def record_part(self, batch: BatchId, part: int, parts: int) -> None:
        """Note that part `part` of `parts` was registered; seals the batch with the last one."""
        ...

    def finish(self, batches: Collection[BatchId]) -> list[BatchId]:
        """Stamp those of the batches that are sealed and have no open file.

        The notification that a batch asks for is written to the outbox in the same
        transaction. Returns the ones stamped now; a second caller stamps nothing.
        """
        ...

    def unfinished(self) -> list[BatchId]:
        """Running, sealed batches without an open file, for the sweep."""
        ...

    def cancel(self, batch: BatchId) -> int:
        """End every open file as `cancelled`, whoever holds it, and the batch with them."""
        ...

    def retry(self, batch: BatchId, states: Collection[FileState], crew: Crew) -> int:
        """Open the batch's files in these terminal states again, for `crew`.

        A file that the service may still be working on (its newest upload was accepted and
        its last status is neither 3, 6 nor 8) goes on polling with a fresh deadline; any other
        is queued. Attempt and failure counts start afresh. Returns how many.
        """
        ...

    def hand_over(self, batch: BatchId, crew: Crew) -> int:
        """Make `crew` attend to the batch's open files, and free every lease on them.

        Only for a batch whose former holder is known to be dead, or to be a fleet's choice.
        Returns how many files are open.
        """
        ...

    def fail_open(self, crew: Crew, code: str, message: str) -> list[BatchId]:
        """End every open file of the crew as `failed`; returns the batches touched."""
        ...

    def status(self, batch: BatchId) -> BatchStatus:
        """One batch's counts.

        Raises:
            UnknownBatch: no such batch.
        """
        ...

    def batches(self, limit: int = 100) -> list[BatchStatus]:
        """The newest batches first."""
        ...

    def results(
        self, batch: BatchId, states: Collection[FileState] | None = None
    ) -> Iterator[FileResult]:
        """Every file of the batch in its turn, a page at a time: memory stays flat.

        Raises:
            UnknownBatch: no such batch, before the first item.
        """
        ...

    def story(self, file: FileId) -> FileStory:
        """One file's whole story.

        Raises:
            UnknownFile: no such file.
        """
        ...


class Queue(Protocol):
    """Claim, and record under the claim's fence."""

    def claim(self, profile: str, crew: Crew, lane: Lane, limit: int, lease: float) -> Claim:
        """Take up to `limit` due files of a crew under a lease of `lease` seconds.

        Submit lane: in the order of their turns, and `queued` files become `submitting`. Poll
        lane: longest due first, and what nobody holds up to `rules.CLAIM_AHEAD` seconds before
        it is due. While the profile's channel is frozen or the profile is paused
        nothing is claimed; when a freeze is over, one caller gets one file to probe with
        (`Claim.probing`) and nobody else anything until the probe has been recorded by `thaw` or
        `freeze`, or half a minute has passed.

        A file whose former lease ran out counts one death. Files with two or more deaths are
        claimed alone (a claim of one), and with four they are not claimed but end as `failed`
        with `poison`; any verdict of `record` sets the count back to 0.
        """
        ...

    def renew(self, tokens: Collection[LeaseToken], lease: float) -> None:
        """Extend the leases of what is still held under these tokens."""
        ...

    def begin_uploads(self, loads: Sequence[DialogLoad]) -> set[UploadId]:
        """Write each load's dialog session and its uploads as `intent`.

        Returns the uploads whose file is still held under its token: only they may go on.
        """
        ...

    def record(
        self, verdicts: Sequence[Verdict], sending: Sequence[Sending] = ()
    ) -> set[FileId | UploadId]:
        """Write verdicts and what is sent next, in one transaction.

        A verdict frees its file's lease. When its token no longer holds the file, it changes
        nothing about it, with one exception: what the ledger learns is always kept, and an
        upload accepted late is adopted by its file when no newer upload of it was begun and it
        is not terminal.

        An upload that is about to be sent becomes `sent`: the last write before its first byte.
        It may not while uploads of its profile are frozen or paused (a probe's own excepted),
        nor when its file is no longer held.

        Returns the files whose verdict was written, and the uploads that may be sent.
        """
        ...

    def hand_back(self, files: Collection[tuple[FileId, LeaseToken]]) -> None:
        """Give files back unworked: `submitting` becomes `queued`, due at once, no count changes.

        Uploads of theirs that still are an `intent` become `withdrawn`.
        """
        ...

    def due(self, within: float) -> list[Due]:
        """Every crew and lane with open files due within so many seconds, freezes counted."""
        ...

    def take_wake(self, crew: Crew, lane: Lane, quiet: float) -> bool:
        """Whether the caller should send this wake-up: once per `quiet` seconds over the fleet."""
        ...


class Gates(Protocol):
    """The freezes and pauses of profiles, the same for all workers."""

    def freeze(
        self, profile: str, channels: Collection[Channel], seconds: float, reason: str
    ) -> None:
        """Hold these kinds of call for at least so many seconds; a longer freeze stays."""
        ...

    def thaw(self, profile: str, channel: Channel) -> None:
        """A call went well: forget the freeze and its strikes."""
        ...

    def strikes(self, profile: str, channel: Channel) -> tuple[int, float]:
        """How many freezes in a row, and for how many seconds the first of them is past."""
        ...

    def pause(self, profile: str, reason: str) -> None:
        """Hold everything until a human has mended the credentials and a probe went well."""
        ...

    def take_probe(self, profile: str, every: float) -> bool:
        """Whether the caller should probe this paused profile now: once per `every` seconds."""
        ...

    def resume(self, profile: str) -> None:
        """A probe went well: the pause is over."""
        ...

    def paused(self) -> list[str]:
        """The profiles that are paused."""
        ...


class Budget(Protocol):
    """Limits over the whole fleet, per profile."""

    def share(self, profile: str, holder: str, busy: int, ceiling: int, ttl: float) -> int:
        """How many uploads this holder may have in flight now.

        Over all live holders the shares never exceed `ceiling`: the fair share is
        ceiling / holders, a holder that has more shrinks as its `busy` uploads end, and a
        newcomer waits for that. The share is forgotten `ttl` seconds after the last call.
        """
        ...

    def give_up_share(self, profile: str, holder: str) -> None:
        """The holder has no upload in flight any more."""
        ...

    def take(self, profile: str, channel: Channel, rate: float, want: int) -> tuple[int, float]:
        """Take up to `want` calls from a bucket of `rate` calls a second (burst: one second).

        Returns how many were granted and, when none was, the seconds until one will be.
        """
        ...


class Outbox(Protocol):
    """Notifications that wait for delivery."""

    def claim_notifications(self, limit: int, lease: float) -> list[Notification]:
        """Take due notifications under a lease."""
        ...

    def notified(self, notification: int) -> None:
        """It was delivered."""
        ...

    def notify_later(self, notification: int, wait: float | None, error: str) -> None:
        """It was not delivered: try again after `wait` seconds, or never (dead letter)."""
        ...

    def notifications_due(self) -> bool:
        """Whether there is anything to claim now."""
        ...

    def replay(self, batch: BatchId | None = None) -> int:
        """Make dead letters due again, of one batch or all; returns how many."""
        ...


class Schedules(Protocol):
    """What Beat's schedules have to remember."""

    def lead(self, holder: str, lease: float) -> bool:
        """Whether this Beat leads: at most one holder does at a time, until its lease ends."""
        ...

    def last_due(self, schedule: str) -> float | None:
        """The last due time (POSIX seconds) that was fired, None before the first."""
        ...

    def fire(self, schedule: str, due: float) -> bool:
        """Record a firing; False when this due time, or a later one, was fired already."""
        ...

    def unseen(self, schedule: str, files: Iterable[SeenFile]) -> list[SeenFile]:
        """Those files that the schedule has not handed in with this size and time."""
        ...

    def seen_digest(self, schedule: str, source: str) -> str | None:
        """The sha256 a file had when the schedule handed it in last."""
        ...

    def remember(self, schedule: str, files: Sequence[SeenFile]) -> None:
        """The schedule has handed these files in."""
        ...

    def leftovers(self, limit: int) -> list[Leftover]:
        """Succeeded files whose batch has an `after` rule that was not carried out yet."""
        ...

    def taken_away(self, file: FileId, error: ErrorNote | None = None) -> None:
        """The rule was carried out, or, with an error, can't be: either way it is done with."""
        ...


class Experience(Protocol):
    """How long files took to become ready, shared by all workers."""

    def learn(self, profile: str, seen: Sequence[Observation]) -> None:
        """Add observations to the sketches of their kinds."""
        ...

    def sketches(self, profile: str) -> dict[FileKind, Sketch]:
        """What is remembered for each kind of file."""
        ...


class Store(Batches, Queue, Gates, Budget, Outbox, Schedules, Experience, Protocol):
    """The database, whole: the truth about every file."""

    def overview(self) -> Overview:
        """What waits in the whole installation."""
        ...

    def now(self) -> float:
        """The database's clock, POSIX seconds."""
        ...


# --- around the steps ----------------------------------------------------------------------------


class Waker(Protocol):
    """Reaches others through the broker; the database holds the work itself."""

    def wake(self, profile: str, crew: Crew, lane: Lane) -> None:
        """Send one wake-up, best effort: losing it costs at most a sweep's interval."""
        ...

    def wake_notify(self) -> None:
        """Say that the outbox holds something, as little reliably."""
        ...

    def send_notification(self, task: str, queue: str | None, payload: dict[str, Any]) -> None:
        """Send the task of this name with the payload as its one argument.

        Raises:
            ServiceUnreachable: the broker is away.
        """
        ...


class Telemetry(Protocol):
    """What operators get to see; takes ids and counts, never contents or credentials."""

    def event(self, name: EventName, **fields: object) -> None:
        """Say one thing that happened."""
        ...

    def count(self, metric: CounterName, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, metric: HistogramName, seconds: float, **labels: str) -> None:
        """Note one duration."""
        ...
