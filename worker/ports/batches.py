"""The store, for who hands batches in and looks at them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from worker.core.audit import AuditedBatch, AuditedFile
from worker.core.lifecycle import FileState
from worker.core.model.batches import BatchStatus, NewBatch
from worker.core.model.ids import BatchId, Crew, FileId
from worker.core.model.stories import FileResult, FileStory
from worker.core.seen import (
    EVERY,
    BatchDetails,
    FileLine,
    NamedBatch,
    NamedFile,
    Narrow,
    Prunable,
    Reason,
)


class Batches(Protocol):
    """Handing files in and looking at them."""

    def create_batch(self, batch: NewBatch) -> bool:
        """Insert the batch unless one with its id exists; True when it is new.

        A new batch is unsealed: it can't finish before `seal`. One that was rejected begins
        anew, and counts as new.
        """
        ...

    def reject(self, batch: NewBatch, reason: str) -> bool:
        """Insert the batch as `rejected`, unless one with its id exists; True when it is new.

        The notification that it asks for is written to the outbox with it.
        """
        ...

    def add_files(
        self,
        batch: BatchId,
        sources: Sequence[str],
        crew: Crew | None = None,
        *,
        force: bool = False,
    ) -> int:
        """Insert the sources that the batch does not have yet, as `queued` and due at once.

        A file's id is the UUIDv5 of its batch and source, so that adding twice adds once; its
        turn is its place in the batch. They and the batch belong to `crew` from now on, when it
        is given: whoever hands in says who attends. A finished batch that gains a file runs
        again; what a cancelled one gains is `cancelled` at once, and waits for a retry. With
        `force` they are uploaded even if their results are known. Returns how many were new.
        """
        ...

    def seal(self, batch: BatchId) -> None:
        """All files have been handed in: from now on the batch may finish."""
        ...

    def record_part(self, batch: BatchId, part: int, parts: int, hand_in: str = "") -> None:
        """Note that part `part` of `parts` was registered.

        With the last part of the same hand-in the batch is sealed; until then it is not, even
        if an earlier hand-in had sealed it.
        """
        ...

    def finish(self, batches: Collection[BatchId]) -> list[BatchId]:
        """Stamp those of the batches that are sealed and have no open file.

        A cancelled batch that has gained files since is stamped as cancelled again.

        The notification that a batch asks for is written to the outbox in the same
        transaction. Returns the ones stamped now; a second caller stamps nothing.
        """
        ...

    def unfinished(self) -> list[BatchId]:
        """Sealed batches that have no open file and have not ended, for the sweep.

        A cancelled batch is one of them when files came after its end, or when who cancelled it
        did not get to its end.
        """
        ...

    def cancel(self, batch: BatchId) -> int:
        """End every open file as `cancelled`, whoever holds it, and the batch with them."""
        ...

    def retry(
        self,
        batch: BatchId,
        states: Collection[FileState],
        crew: Crew,
        narrow: Narrow = EVERY,
    ) -> int:
        """Open the batch's files in these terminal states again, for `crew`.

        A file that the service may still be working on (its newest upload was accepted and
        its last status is neither 3, 6 nor 8) goes on polling with a fresh deadline; any other
        is queued. Attempt and failure counts start afresh, and the breakers of the profile, or
        of the one category, are closed. Returns how many.
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

    def batches(self, limit: int | None = 100) -> list[BatchStatus]:
        """The newest batches first, all for None."""
        ...

    def results(
        self,
        batch: BatchId,
        states: Collection[FileState] | None = None,
        codes: Collection[str] | None = None,
    ) -> Iterator[FileResult]:
        """Every file of the batch in its turn, a page at a time: memory stays flat.

        Only those in these states and with these error codes, where given.

        Raises:
            UnknownBatch: no such batch, before the first item.
        """
        ...

    def details(self, batch: BatchId) -> BatchDetails:
        """Who attends to it, what went wrong, what was uploaded, how long it will still take.

        Raises:
            UnknownBatch: no such batch.
        """
        ...

    def reasons(self, batch: BatchId, examples: int = 3) -> list[Reason]:
        """Why files did not succeed, by state and code, the most frequent first, with examples."""
        ...

    def lines(self, batch: BatchId) -> Iterator[FileLine]:
        """Every file of the batch in its turn, without contents; memory stays flat."""
        ...

    def story(self, file: FileId) -> FileStory:
        """One file's whole story.

        Raises:
            UnknownFile: no such file.
        """
        ...


class Naming(Protocol):
    """Finding the batch or the file that somebody means."""

    def batches_named(self, name: str, limit: int = 10) -> list[NamedBatch]:
        """The batches that this may mean, the newest first, `limit` of them at most.

        `name` is an id, the word `latest`, an external key, or the beginning of an id (four
        characters or more): the first of these that names anything counts.
        """
        ...

    def files_named(
        self, name: str, batch: BatchId | None = None, limit: int = 10
    ) -> list[NamedFile]:
        """The files that this may mean: an id or its beginning, or in a batch a name or source."""
        ...


class Accounts(Protocol):
    """The account, for who balances it."""

    def audited(self, batch: BatchId | None = None) -> Iterator[AuditedBatch | AuditedFile]:
        """Each batch, followed by its files in their turns; each page is read at one moment.

        Nothing is written, memory does not grow with the account.

        Raises:
            UnknownBatch: no such batch.
        """
        ...


class Upkeep(Protocol):
    """Removing what is over and old."""

    def prunable(self, older_than: float, *, contents_only: bool = False) -> list[Prunable]:
        """The batches that ended at least so many seconds ago, the oldest first.

        Not those that still have somebody to notify, or files to be taken away; for
        `contents_only` only those that have contents.
        """
        ...

    def prune(self, batch: BatchId, older_than: float, *, contents_only: bool = False) -> int:
        """Remove the batch, or its contents, in small transactions, if it is still over and old.

        Returns how many files it concerned.
        """
        ...


class HandIn(Protocol):
    """Registers a batch for the workers and wakes them; blocking, and safe to repeat."""

    def __call__(
        self,
        *,
        profile: str,
        external_key: str,
        category: str | None,
        after: str,
        sources: Sequence[str],
    ) -> tuple[BatchId, int]:
        """Create the batch with this key, or find it again, and add the files it lacks.

        Returns:
            The batch, and how many of the files were new to it.
        """
        ...
