"""The store, for who works: claims and verdicts, freezes and limits, who is alive."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol, overload

from worker.core.breaker import Applicant, Turn
from worker.core.lifecycle import Lane
from worker.core.model.files import Claim, DialogLoad, ErrorNote, PolledFile, QueuedFile, Sending
from worker.core.model.fleet import Due
from worker.core.model.ids import Crew, FileId, LeaseToken, UploadId
from worker.core.reuse import Dealt, Wanted
from worker.core.seen import Attendant
from worker.core.verdicts import Verdict
from worker.errors import Channel


class Queue(Protocol):
    """Claim, and record under the claim's fence."""

    @overload
    def claim(
        self, profile: str, crew: Crew, lane: Literal[Lane.SUBMIT], limit: int, lease: float
    ) -> Claim[QueuedFile]: ...

    @overload
    def claim(
        self, profile: str, crew: Crew, lane: Literal[Lane.POLL], limit: int, lease: float
    ) -> Claim[PolledFile]: ...

    def claim(
        self, profile: str, crew: Crew, lane: Lane, limit: int, lease: float
    ) -> Claim[QueuedFile] | Claim[PolledFile]:
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

    def reuse(self, profile: str, wanted: Sequence[Wanted], within: float) -> Dealt:
        """Give files that are about to be uploaded the result of others like them, if any.

        One that succeeded, with an upload of its own, within so many seconds: the file ends as
        `succeeded` with a copy of its result. One in flight: the file waits, `queued`, until that
        has ended. Else the file is to be uploaded, and others wait for it. A file that is not
        held under its token is left alone. Whoever decides is alone with the profile's files.
        """
        ...

    def released(self) -> list[FileId]:
        """Files that wait for one that is not in flight any more, or may be a breaker's canary."""
        ...

    def wake_released(self, files: Sequence[FileId]) -> int:
        """Make those of them due that still wait; returns how many."""
        ...

    def hand_back(
        self, files: Collection[tuple[FileId, LeaseToken]], reason: ErrorNote | None = None
    ) -> None:
        """Give files back unworked: `submitting` becomes `queued`, due at once, no count changes.

        The story of each tells the reason.

        Uploads of theirs that still are an `intent` become `withdrawn`.
        """
        ...

    def due(self, within: float) -> list[Due]:
        """Every crew and lane with open files due within so many seconds, freezes counted."""
        ...

    def take_wake(self, crew: Crew, lane: Lane, quiet: float) -> bool:
        """Whether the caller should send this wake-up: once per `quiet` seconds over the fleet."""
        ...


class Breakers(Protocol):
    """What holds the files of one category, the same for all workers."""

    def heard_of(self, profile: str, category: str, code: str | None, limit: int) -> Turn | None:
        """A file of the category went well (None), or failed with this code.

        With `limit` failures in a row of one code the breaker opens, with one that went well it
        closes, and what it held is due. Returns which of these has happened.
        """
        ...

    def held_back(self, profile: str, applicants: Sequence[Applicant]) -> frozenset[FileId]:
        """Queue for later those whose category's breaker is open; returns which.

        One of a category, the canary, is let through each minute.
        """
        ...


class Gates(Protocol):
    """The freezes and pauses of profiles, the same for all workers."""

    def freeze(
        self, profile: str, channels: Collection[Channel], seconds: float, reason: str
    ) -> list[Channel]:
        """Hold these kinds of call for at least so many seconds; a longer freeze stays.

        Returns those that were open until now: it begins for them, for the others it goes on.
        """
        ...

    def thaw(self, profile: str, channel: Channel) -> None:
        """A call went well: forget the freeze and its strikes."""
        ...

    def strikes(self, profile: str, channel: Channel) -> int:
        """How many freezes in a row."""
        ...

    def pause(self, profile: str, reason: str) -> bool:
        """Hold everything until a human has mended the settings and a probe went well.

        The first probe is due a minute from now. Returns whether the pause begins with this call.
        """
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


class Attendance(Protocol):
    """Who is at work."""

    def attend(self, holder: str, crew: Crew | None, place: str, ttl: float) -> bool:
        """This process attends to a run's crew, or to every fleet, for `ttl` seconds more.

        From now on its leases bear its name. Returns whether somebody else has fallen silent.
        """
        ...

    def bury(self) -> list[str]:
        """End the leases and shares of who has fallen silent, so that others get them.

        Returns who it was.
        """
        ...

    def leave(self, holder: str) -> None:
        """This process attends to nothing any more."""
        ...

    def attendants(self) -> list[Attendant]:
        """The processes that said so lately, the oldest first."""
        ...
