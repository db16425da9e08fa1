"""The one way from the steps to the store's three hot writes."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from worker.core.model.files import ClaimedFile, DialogLoad, ErrorNote, Sending
from worker.core.model.ids import DialogId, FileId, LeaseToken, UploadId
from worker.core.verdicts import Verdict
from worker.ports.store import Store
from worker.steps.grouping import GroupCommit

Held = tuple[FileId, LeaseToken, ErrorNote | None]
"""A file to be given back, the lease it was held under, and why."""


class Recorder:
    """Groups uploads begun, uploads sent and verdicts into few transactions.

    A reply of the service has to be in the database within half a second: the gathering
    pauses below leave most of that, and buy transactions of tens of rows.
    """

    def __init__(self, store: Store, *, gather: float = 0.15) -> None:
        self._store = store
        self._loads: GroupCommit[DialogLoad, DialogId] = GroupCommit(
            self._begin, lambda load: load.session.id, gather=0.005, limit=20
        )
        # What an upload came to is written at once: a crash before that makes it unknown. The
        # next one takes its place at that moment, so one transaction serves both.
        self._uploads: GroupCommit[Verdict | Sending, FileId | UploadId] = GroupCommit(
            self._record, _key, gather=0.01
        )
        self._verdicts: GroupCommit[Verdict, FileId | UploadId] = GroupCommit(
            store.record, _key, gather=gather
        )
        self._back: GroupCommit[Held, FileId] = GroupCommit(
            self._hand_back, lambda held: held[0], gather=gather
        )

        self._lanes = (self._loads, self._uploads, self._verdicts, self._back)

    async def run(self) -> None:
        """Write until cancelled."""
        async with anyio.create_task_group() as tasks:
            for lane in self._lanes:
                tasks.start_soon(lane.run)

    async def flush(self, within: float = 5.0) -> None:
        """Wait until what was put so far is written, or the time is over."""
        with anyio.move_on_after(within):
            while any(lane.waiting for lane in self._lanes):  # noqa: ASYNC110 - once, at the end
                await anyio.sleep(0.01)

    async def begin(self, load: DialogLoad) -> bool:
        """Write a dialog session and its uploads as intents; False when no file is held."""
        return await self._loads.put(load)

    async def sent(self, profile: str, file: FileId, upload: UploadId) -> bool:
        """Write that an upload is about to be sent; False when it must not be."""
        return await self._uploads.put(Sending(profile, file, upload))

    async def verdict(self, verdict: Verdict) -> bool:
        """Write what becomes of a file; False when it was no longer ours."""
        if verdict.upload is not None:
            return await self._uploads.put(verdict)
        return await self._verdicts.put(verdict)

    async def hand_back(self, file: ClaimedFile, reason: ErrorNote | None = None) -> None:
        """Give a file back unworked; its story tells the reason."""
        await self._back.put((file.id, file.token, reason))

    def _hand_back(self, held: Sequence[Held]) -> set[FileId]:
        for reason in dict.fromkeys(reason for _, _, reason in held):
            same = [(file, token) for file, token, why in held if why == reason]
            self._store.hand_back(same, reason)
        return {file for file, _, _ in held}

    def _begin(self, loads: Sequence[DialogLoad]) -> set[DialogId]:
        held = self._store.begin_uploads(loads)
        return {
            load.session.id for load in loads if any(intent.id in held for intent in load.intents)
        }

    def _record(self, items: Sequence[Verdict | Sending]) -> set[FileId | UploadId]:
        return self._store.record(
            [item for item in items if not isinstance(item, Sending)],
            [item for item in items if isinstance(item, Sending)],
        )


def _key(item: Verdict | Sending) -> FileId | UploadId:
    return item.upload if isinstance(item, Sending) else item.file
