"""Submit: claim queued files, open dialogs for their categories, upload each file once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import anyio
from anyio import to_thread

from worker.core import submission
from worker.core.lifecycle import FileState, Lane
from worker.core.model import (
    Category,
    Claim,
    ClaimedFile,
    Crew,
    DialogLoad,
    DialogSession,
    FileId,
    Intent,
    UploadId,
    Verdict,
)
from worker.core.planning import Assignment, Candidate, Plan, form_for, plan
from worker.core.rules import LEASE
from worker.errors import GiveUp, IngestError, SourceRejected
from worker.ports import SourceFile
from worker.steps.grouping import persistently
from worker.steps.loop import TaskGroup
from worker.steps.opening import Opening
from worker.steps.service import Service
from worker.steps.shift import Hand, Pace, Shift
from worker.steps.stopping import Stopping
from worker.steps.uploading import Uploading

FILES_PER_SLOT = 8
SHARE_EVERY = 1.0
SHARE_TTL = 15.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A claimed file whose source was looked at."""

    file: ClaimedFile
    source: SourceFile


class Submitting:
    """One submit shift of a crew."""

    def __init__(self, service: Service, crew: Crew, stop: Stopping, pace: Pace) -> None:
        self._service = service
        self._crew = crew
        self._opening = Opening(service, crew, stop)
        self._uploading = Uploading(service, crew)
        self._hand = Hand(service.telemetry)
        held = partial(service.gate.left, "upload")
        self._shift = Shift(service.store, self._claim, self._work, self._hand, stop, pace, held)

    async def run(self) -> float | None:
        """Work until the shift is over; returns the seconds until more is due, if any is."""
        await self._take_share()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_share)
            wait = await self._shift.run()
            tasks.cancel_scope.cancel()
        await self._give_up_share()
        return wait

    def _claim(self, limit: int) -> Claim:
        """Claim no more than the share of uploads will soon be through with.

        Without a share nothing is claimed: the files would only wait here instead of there.
        """
        service = self._service
        limit = min(limit, FILES_PER_SLOT * int(service.slots.total_tokens))
        if limit == 0:
            return Claim()
        return service.store.claim(service.profile, self._crew, Lane.SUBMIT, limit, LEASE)

    # --- the share of uploads in flight ---

    async def _keep_share(self) -> None:
        while True:
            await anyio.sleep(SHARE_EVERY)
            await self._take_share()

    async def _take_share(self) -> None:
        service = self._service
        share = await persistently(
            service.store.share,
            service.profile,
            service.holder,
            service.slots.borrowed_tokens,
            service.rules.max_concurrent_uploads,
            SHARE_TTL,
        )
        service.slots.total_tokens = share

    async def _give_up_share(self) -> None:
        service = self._service
        service.slots.total_tokens = 0
        with anyio.move_on_after(2):  # forgotten by itself after a while, should this not go well
            await persistently(service.store.give_up_share, service.profile, service.holder)

    # --- one claim ---

    async def _work(self, claim: Claim) -> None:
        async with anyio.create_task_group() as tasks:
            fresh = []
            for file in claim.files:
                verdict = submission.leftover(file, self._service.rules)
                if verdict is None:
                    fresh.append(file)
                else:
                    tasks.start_soon(self._record, file, verdict)
            ready = await self._examine(fresh, tasks)
            for bundle in self._bundles(ready):
                tasks.start_soon(partial(self._serve_apart, bundle, probing=claim.probing))

    async def _examine(
        self, files: Sequence[ClaimedFile], tasks: anyio.abc.TaskGroup
    ) -> list[Ready]:
        """Look at the sources, in one thread for all; what can't be sent is rejected."""
        ready = []
        sources = [file.source for file in files]
        looked_at = await to_thread.run_sync(self._service.sources.look, sources)
        for file, found in zip(files, looked_at, strict=True):
            if isinstance(found, SourceRejected):
                verdict = submission.ended(file, FileState.REJECTED, found)
                tasks.start_soon(self._record, file, verdict)
            else:
                ready.append(Ready(file, found))
        return ready

    def _bundles(self, ready: Sequence[Ready]) -> list[list[Ready]]:
        """One bundle per dialog, by what the last dialog offered; all in one before the first.

        A file that no known category takes goes along with the first bundle: only the dialog
        that is open when it is decided may reject it.
        """
        if not ready:
            return []
        if not self._service.categories:
            return [list(ready)]
        planned = _plan(ready, self._service.categories)
        by_file = {each.file.id: each for each in ready}
        bundles = [[by_file[a.file] for a in load.assignments] for load in planned.loads] or [[]]
        bundles[0].extend(by_file[file] for file, _ in planned.rejections)
        return bundles

    # --- one dialog session ---

    async def _serve_apart(self, bundle: Sequence[Ready], *, probing: bool) -> None:
        """Serve a bundle; what breaks on it, breaks no other (see `Hand.work`)."""
        try:
            await self._serve(bundle, probing=probing)
        except Exception as error:  # noqa: BLE001 - as said above
            self._service.telemetry.event("step_failed", step="submit", reason=repr(error)[:500])
            for each in bundle:
                self._hand.drop(each.file)

    async def _serve(self, bundle: Sequence[Ready], *, probing: bool) -> None:
        """Open a dialog and upload what it has places for; another dialog takes the rest."""
        try:
            session = await self._opening.open()
        except GiveUp as error:
            await self._end_all(bundle, error)
            return
        if session is None:
            await self._hand_back([each.file for each in bundle])
            return
        planned = _plan(bundle, session.node.categories)
        by_file = {each.file.id: each for each in bundle}
        async with anyio.create_task_group() as tasks:
            for file, reason in planned.rejections:
                rejection = SourceRejected(reason.message, code=reason.code)
                verdict = submission.ended(by_file[file].file, FileState.REJECTED, rejection)
                tasks.start_soon(self._record, by_file[file].file, verdict)
            for load in planned.loads[1:]:
                rest = [by_file[each.file] for each in load.assignments]
                tasks.start_soon(partial(self._serve, rest, probing=probing))
            if planned.loads:
                await self._use(session, planned.loads[0].assignments, by_file, probing=probing)

    async def _use(
        self,
        session: DialogSession,
        assignments: Iterable[Assignment],
        by_file: dict[FileId, Ready],
        *,
        probing: bool,
    ) -> None:
        """Upload one load into an open dialog session."""
        load = [(UploadId(uuid4()), each, by_file[each.file]) for each in assignments]
        intents = tuple(
            Intent(upload, ready.file.id, ready.file.token, each.category.name, ready.source.size)
            for upload, each, ready in load
        )
        await self._service.recorder.begin(DialogLoad(self._service.profile, session, intents))
        async with TaskGroup() as tasks:
            for upload, each, ready in load:
                work = partial(self._upload, session, upload, each, ready, probing=probing)
                tasks.create_task(self._hand.work(ready.file, work))

    async def _upload(
        self,
        session: DialogSession,
        upload: UploadId,
        assignment: Assignment,
        ready: Ready,
        *,
        probing: bool,
    ) -> None:
        file = ready.file
        form = form_for(assignment, session.node, file.options.inputs)
        category = assignment.category.name
        verdict = await self._uploading.upload(
            file, ready.source, upload, category, form, probing=probing
        )
        if verdict is None:
            await self._hand_back([file])
        else:
            await self._record(file, verdict)

    # --- ends ---

    async def _record(self, file: ClaimedFile, verdict: Verdict) -> None:
        await self._service.record(verdict)
        self._hand.drop(file)

    async def _end_all(self, bundle: Sequence[Ready], error: IngestError) -> None:
        async with anyio.create_task_group() as tasks:
            for each in bundle:
                verdict = submission.ended(each.file, FileState.FAILED, error)
                tasks.start_soon(self._record, each.file, verdict)

    async def _hand_back(self, files: Sequence[ClaimedFile]) -> None:
        async with anyio.create_task_group() as tasks:
            for file in files:
                tasks.start_soon(self._service.recorder.hand_back, file)
        for file in files:
            self._hand.drop(file)


def _plan(ready: Sequence[Ready], categories: Sequence[Category]) -> Plan:
    candidates = [
        Candidate(each.file.id, each.source.name, each.file.options.category) for each in ready
    ]
    return plan(candidates, categories)
