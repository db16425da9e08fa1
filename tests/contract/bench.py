"""Small builders for the store's contract tests."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from worker.adapters.database import SqlStore
from worker.core.lifecycle import FileState, Lane
from worker.core.model.batches import NewBatch
from worker.core.model.files import Claim, ClaimedFile, DialogLoad, Intent, Sending
from worker.core.model.ids import BatchId, Crew, DialogId, FileId, UploadId, fleet
from worker.core.model.wire import Contents, DialogSession, UploadNode
from worker.core.verdicts import Accepted, Ended, Traits, Verdict

PROFILE = "default"
CREW = fleet(PROFILE)
NODE = UploadNode("flow", "session-1", "node", ())


@dataclass
class Bench:
    """A store and the few moves that every test makes with it."""

    store: SqlStore
    uploads: dict[UUID, UploadId] = field(default_factory=dict)
    owners: dict[UploadId, FileId] = field(default_factory=dict)

    def batch(
        self,
        files: int = 1,
        *,
        crew: Crew = CREW,
        profile: str = PROFILE,
        sealed: bool = True,
        **more: Any,
    ) -> BatchId:
        batch = BatchId(uuid4())
        self.store.create_batch(NewBatch(batch, profile, crew, **more))
        self.store.add_files(batch, [f"/in/{n:05}.wav" for n in range(files)])
        if sealed:
            self.store.seal(batch)
        return batch

    def claim(
        self,
        lane: Lane = Lane.SUBMIT,
        limit: int = 100,
        *,
        lease: float = 60.0,
        crew: Crew = CREW,
        profile: str = PROFILE,
    ) -> Claim[Any]:
        return self.store.claim(profile, crew, lane, limit, lease)

    def begin(self, files: Iterable[ClaimedFile]) -> list[UploadId]:
        """Write the ledger's intents; which of them may go on."""
        intents = []
        for file in files:
            self.uploads[file.id] = UploadId(uuid4())
            self.owners[self.uploads[file.id]] = file.id
            intents.append(Intent(self.uploads[file.id], file.id, file.token, "Audio", 7))
        session = DialogSession(DialogId(uuid4()), "1017340986451495206", NODE)
        kept = self.store.begin_uploads([DialogLoad(PROFILE, session, tuple(intents))])
        return sorted(kept)

    def mark_sent(self, uploads: Iterable[UploadId]) -> set[FileId | UploadId]:
        """Turn intents into `sent`; which of them may go on."""
        return self.store.record(
            (), [Sending(PROFILE, self.owners[upload], upload) for upload in uploads]
        )

    def send(self, files: Iterable[ClaimedFile]) -> None:
        kept = self.begin(files)
        assert self.mark_sent(kept) == set(kept)

    def accepted(
        self,
        file: ClaimedFile,
        *,
        wait: float = 0.0,
        deadline: float = 3600.0,
        status: int | None = 1,
        size: int = 7,
    ) -> Accepted:
        """What is recorded after the service took a file."""
        upload = self.uploads[file.id]
        sent = Traits("Audio", size, "0" * 64)
        return Accepted(file.id, file.token, upload, f"cf-{upload}", sent, wait, deadline, status)

    def submit(self, limit: int = 100, **more: Any) -> list[Any]:
        """Claim, send and record: the files poll afterwards."""
        claim = self.claim(Lane.SUBMIT, limit)
        self.send(claim.files)
        self.store.record([self.accepted(file, **more) for file in claim.files])
        return list(claim.files)

    def polling(self, files: int = 1, **more: Any) -> tuple[BatchId, list[Any]]:
        """A batch whose files are all polling, and due; claimed for a poll."""
        batch = self.batch(files, **more)
        self.submit(files)
        return batch, sorted(self.claim(Lane.POLL, files).files, key=lambda file: file.source)

    def wake_released(self) -> int:
        """Make due what waits no longer, as a sweep does; returns how many files."""
        return self.store.wake_released(self.store.released())

    def rows(self, statement: str, **values: Any) -> list[Any]:
        return self.store._database.read(lambda tx: list(tx.run(text(statement), values)))

    def count(self, table: str, condition: str = "1 = 1") -> int:
        return int(self.rows(f"SELECT COUNT(*) AS n FROM {table} WHERE {condition}")[0].n)

    def execute(self, statement: str, **values: Any) -> None:
        """What time does: tests move moments in the tables instead of waiting for them."""
        self.store._database.write(lambda tx: tx.run(text(statement), values) and None)

    def outlive(self, table: str, column: str, condition: str = "1 = 1") -> None:
        """The moments of this column are over."""
        past = {"sqlite": "'2000-01-01 00:00:00.000000'"}.get(
            self.store._database.kind, "TIMESTAMP '2000-01-01 00:00:00'"
        )
        self.execute(f"UPDATE {table} SET {column} = {past} WHERE {condition}")

    def expire_leases(self) -> None:
        self.outlive("files", "next_at", "lease_token IS NOT NULL")


def done(file: ClaimedFile, contents: str = "text") -> Verdict:
    return Ended(
        file.id,
        file.token,
        FileState.SUCCEEDED,
        status=7,
        asked=True,
        contents=Contents(contents, None, None),
    )
