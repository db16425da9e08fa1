"""The ledger of uploads: what its entries mean, and what may become of them.

An upload can't be repeated and the service has no look-up, so what the ledger says decides
whether a file is uploaded, asked for, or left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from worker.core.gate import Gate
from worker.core.lifecycle import ENDED_BADLY, FileState, ServiceStatus, may_reopen
from worker.core.model.files import LedgerEntry, UploadResult, UploadState
from worker.core.model.ids import UploadId

TEACHES = MappingProxyType(
    {
        UploadState.INTENT: frozenset(UploadState) - {UploadState.INTENT},
        UploadState.SENT: frozenset(UploadState) - {UploadState.INTENT, UploadState.SENT},
        UploadState.UNKNOWN: frozenset({UploadState.ACCEPTED, UploadState.REFUSED}),
        UploadState.REFUSED: frozenset({UploadState.ACCEPTED}),
        UploadState.WITHDRAWN: frozenset({UploadState.ACCEPTED}),
        UploadState.ACCEPTED: frozenset[UploadState](),
    }
)
"""From each state of an upload, the states that say more about it, and are written.

Certain knowledge is never overwritten by `unknown`; an acceptance tops everything.
"""

COUNTED = frozenset({UploadState.ACCEPTED, UploadState.REFUSED, UploadState.UNKNOWN})
"""Ends of an upload that use up an attempt; what was never sent uses up none."""

ACCEPTED_ONCE = frozenset({FileState.POLLING, FileState.SUCCEEDED, FileState.PARTIAL})
"""A file in one of these that used one attempt up, and took over no result: it was accepted."""

_UNSETTLED = frozenset({UploadState.INTENT, UploadState.SENT})
_UNSENT = frozenset({UploadState.INTENT, UploadState.WITHDRAWN})


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload of a file as the ledger holds it.

    `token` is the lease it was begun under; category and size are as they were meant then.
    """

    id: UploadId
    attempt: int
    state: UploadState
    token: UUID
    chatflow_file_id: str | None = None
    sent_at: datetime | None = None
    category: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the word on how an upload ended means for the ledger and its file.

    Attributes:
        upload: the entry that it is about.
        news: whether it says more than what is known: only then the entry is written.
        counts: whether it uses up an attempt of the file, which nobody has counted before.
        adopted: whether the file takes the upload up although its lease was lost since.
        called_off: then, the uploads that somebody else meant to send, and must not any more.
        outdated: whether its holder takes for unknown what somebody else has told meanwhile, so
            that what becomes of the file is to be decided anew.
    """

    upload: Upload
    news: bool
    counts: bool
    adopted: bool = False
    called_off: tuple[Upload, ...] = ()
    outdated: bool = False


def learn(
    ledger: Sequence[Upload], told: UploadResult, file: FileState, *, held: bool
) -> Lesson | None:
    """What becomes of an upload whose end is told; None for one that the ledger does not have.

    Args:
        ledger: the file's uploads, the oldest first.
        told: how it ended.
        file: where the file stands.
        held: whether the teller still holds the file's lease.
    """
    upload = find(ledger, told.id)
    if upload is None:
        return None
    news = teaches(upload.state, told.state)
    counts = news and told.state in COUNTED and upload.state not in COUNTED
    newer = [other for other in ledger if other.attempt > upload.attempt]
    adopted = (
        not held
        and news
        and told.state is UploadState.ACCEPTED
        and not file.is_terminal
        and all(other.state in _UNSENT for other in newer)
    )
    meant = (other for other in newer if adopted and other.state is UploadState.INTENT)
    unknown = told.state is UploadState.UNKNOWN and upload.state is not UploadState.UNKNOWN
    return Lesson(
        upload, news, counts, adopted, tuple(meant), outdated=held and unknown and not news
    )


def find(ledger: Sequence[Upload], upload: UploadId) -> Upload | None:
    """The file's upload with this id."""
    return next((entry for entry in ledger if entry.id == upload), None)


def teaches(known: UploadState, told: UploadState) -> bool:
    """Whether what we are told says more about an upload than what we know."""
    return told in TEACHES[known]


def may_be_sent(upload: Upload, holder: UUID | None, gate: Gate) -> bool:
    """Whether an upload's first byte may be sent.

    `sent` passes too: the caller asks again only when the answer to its first call was lost, and
    so has sent nothing yet.

    Args:
        upload: the entry.
        holder: the lease that its file is held under now.
        gate: where the profile's uploads stand.
    """
    return holder == upload.token and gate.admits(upload.token) and upload.state in _UNSETTLED


def next_attempt(ledger: Sequence[Upload]) -> int:
    """The number of a file's next upload."""
    return ledger[-1].attempt + 1 if ledger else 1


def meant(ledger: Sequence[Upload]) -> list[Upload]:
    """The uploads that were only meant: nothing of them was sent."""
    return [upload for upload in ledger if upload.state is UploadState.INTENT]


def deciding(ledger: Sequence[Upload]) -> Upload | None:
    """The upload that decides what a file needs, None when it has none.

    The newest if it is `sent`; else the newest that is `accepted`; else the newest of which
    anything was sent; else the newest. For an earlier acceptance came too late to stop a newer
    upload, and counts once that came to nothing.
    """
    if not ledger or ledger[-1].state is UploadState.SENT:
        return ledger[-1] if ledger else None
    for looked_for in ({UploadState.ACCEPTED}, set(UploadState) - _UNSENT):
        for upload in reversed(ledger):
            if upload.state in looked_for:
                return upload
    return ledger[-1]


def entry(upload: Upload, known: str | None, status: int | None) -> LedgerEntry:
    """The upload with the service's word about it.

    Args:
        upload: the entry.
        known: the id by which the file was asked for last, which `status` is about.
        status: the service's number.
    """
    theirs = upload.chatflow_file_id
    about_it = theirs is not None and theirs == known
    said = status if about_it else None
    return LedgerEntry(upload.id, upload.state, theirs, said, upload.category, upload.size)


def still_worked_on(
    ledger: Sequence[Upload], ended: FileState, known: str | None, status: int | None
) -> Upload | None:
    """The upload that the service may still be working on, for a file that is to be retried.

    That is the newest that was sent, when it was accepted and did not end badly. An upload that
    was accepted after the file had ended has not been asked about yet.

    Args:
        ledger: the file's uploads, the oldest first.
        ended: how the file ended.
        known: the id by which the file was asked for last, which `status` is about.
        status: the service's number.
    """
    sent = [upload for upload in ledger if upload.state is not UploadState.WITHDRAWN]
    if not sent or sent[-1].state is not UploadState.ACCEPTED:
        return None
    newest = sent[-1]
    about_it = newest.chatflow_file_id == known
    # Where the deadline came first, the status was one that is asked about again.
    waited = ended is FileState.TIMED_OUT
    over = about_it and ServiceStatus.known(status) in ENDED_BADLY and not waited
    return newest if may_reopen(ended, FileState.POLLING) and not over else None
