"""Submit: claim queued files, open dialogs for their categories, upload each file once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
from anyio import to_thread

from worker.codes import ErrorCode
from worker.core import submission
from worker.core.lifecycle import FileState, Lane
from worker.core.model.files import Claim, DialogLoad, ErrorNote, Intent, QueuedFile, UploadState
from worker.core.model.ids import Crew, FileId, UploadId
from worker.core.model.wire import Category, DialogSession
from worker.core.planning import Assignment, Candidate, Plan, form_for, plan
from worker.core.verdicts import Verdict
from worker.errors import GiveUp, IngestError, SourceRejected
from worker.steps.context import ProfileContext
from worker.steps.dialog_opener import DialogOpener
from worker.steps.grouping import persistently
from worker.steps.lasting import keep_doing
from worker.steps.loop import side_by_side
from worker.steps.reuse import ExaminedFile, UploadSaver
from worker.steps.shift import FilesInHand, Shift
from worker.steps.shift_limits import ShiftLimits
from worker.steps.stopping import Stopping
from worker.steps.uploader import Uploader

FILES_PER_SLOT = 8
SHARE_EVERY = 1.0


class SubmitShift:
    """One submit shift of a crew."""

    def __init__(
        self, context: ProfileContext, crew: Crew, stop: Stopping, limits: ShiftLimits
    ) -> None:
        self._context = context
        self._crew = crew
        self._opener = DialogOpener(context, crew, stop)
        self._uploader = Uploader(context, crew)
        self._saver = UploadSaver(context)
        self._in_hand = FilesInHand(context.telemetry)
        held = partial(context.gate.left, "upload")
        self._shift = Shift(
            context.store, self._claim, self._work, self._in_hand, stop, limits, held
        )

    async def run(self) -> float | None:
        """Work until the shift is over; returns the seconds until more is due, if any is."""
        await self._take_share()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_share)
            wait = await self._shift.run()
            tasks.cancel_scope.cancel()
        await self._give_up_share()
        return wait

    def _claim(self, limit: int) -> Claim[QueuedFile]:
        """Claim no more than the share of uploads will soon be through with.

        Without a share nothing is claimed: the files would only wait here instead of there.
        """
        context = self._context
        limit = min(limit, FILES_PER_SLOT * int(context.slots.total_tokens))
        if limit == 0:
            return Claim()
        lease = context.rules.timings.lease
        return context.store.claim(context.profile, self._crew, Lane.SUBMIT, limit, lease)

    # --- the share of uploads in flight ---

    async def _keep_share(self) -> None:
        await anyio.sleep(SHARE_EVERY)
        await keep_doing(
            "share", self._take_share, every=SHARE_EVERY, telemetry=self._context.telemetry
        )

    async def _take_share(self) -> None:
        context = self._context
        share = await persistently(
            context.store.share,
            context.profile,
            context.holder,
            context.slots.borrowed_tokens,
            context.rules.max_concurrent_uploads,
            context.rules.timings.share_ttl,
        )
        context.slots.total_tokens = share

    async def _give_up_share(self) -> None:
        context = self._context
        context.slots.total_tokens = 0
        with anyio.move_on_after(2):  # forgotten by itself after a while, should this not go well
            await persistently(context.store.give_up_share, context.profile, context.holder)

    # --- one claim ---

    async def _work(self, claim: Claim[QueuedFile]) -> None:
        async with anyio.create_task_group() as tasks:
            fresh = []
            for file in claim.files:
                verdict = submission.from_ledger(file, self._context.rules)
                if verdict is None:
                    fresh.append(file)
                else:
                    tasks.start_soon(self._record, file, verdict)
            ready = await self._not_held(await self._examine(fresh, tasks))
            for session, load in self._context.places.take(_candidates(ready.values())):
                bundle = {each.file: ready.pop(each.file) for each in load}
                use = partial(self._use, session, load, bundle, probing=claim.probing)
                tasks.start_soon(self._apart, bundle.values(), use)
            for rest in self._bundles(list(ready.values())):
                serve = partial(self._serve, rest, probing=claim.probing)
                tasks.start_soon(self._apart, rest, serve)

    async def _not_held(self, examined: Sequence[ExaminedFile]) -> dict[FileId, ExaminedFile]:
        """Those that no breaker holds, as far as the last dialog tells where they would go."""
        ready = {each.file.id: each for each in examined}
        loads = _plan(examined, self._context.categories).loads
        held = await self._held([each for load in loads for each in load.assignments], ready)
        return {file: each for file, each in ready.items() if file not in held}

    async def _held(
        self, assignments: Sequence[Assignment], by_file: dict[FileId, ExaminedFile]
    ) -> frozenset[FileId]:
        """The files that their category's breaker holds, and that are not in hand any more."""
        files = {each.file: by_file[each.file].file for each in assignments}
        held = await self._context.breakers.held(assignments, files)
        for file in held:
            self._in_hand.drop(files[file])
        return held

    async def _examine(
        self, files: Sequence[QueuedFile], tasks: anyio.abc.TaskGroup
    ) -> list[ExaminedFile]:
        """Look at the sources, in one thread for all; what can't be sent is rejected."""
        ready = []
        sources = [file.source for file in files]
        looked_at = await to_thread.run_sync(self._context.sources.look, sources)
        for file, found in zip(files, looked_at, strict=True):
            if isinstance(found, SourceRejected):
                tasks.start_soon(self._record, file, submission.rejected(file, found))
            else:
                ready.append(ExaminedFile(file, found))
        ready, unread = await self._saver.digested(ready)
        for each, error in unread:
            tasks.start_soon(self._record, each.file, submission.rejected(each.file, error))
        return ready

    def _bundles(self, ready: Sequence[ExaminedFile]) -> list[list[ExaminedFile]]:
        """One bundle per dialog, by what the last dialog offered; all in one before the first.

        A file that no known category takes goes along with the first bundle: only the dialog
        that is open when it is decided may reject it.
        """
        if not ready:
            return []
        if not self._context.categories:
            return [list(ready)]
        planned = _plan(ready, self._context.categories)
        by_file = {each.file.id: each for each in ready}
        bundles = [[by_file[a.file] for a in load.assignments] for load in planned.loads] or [[]]
        bundles[0].extend(by_file[file] for file, _ in planned.rejections)
        return bundles

    # --- one dialog session ---

    async def _apart(
        self, bundle: Iterable[ExaminedFile], serve: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Serve a bundle; what breaks on it, breaks no other (see `FilesInHand.work`)."""
        try:
            await serve()
        except Exception as error:  # noqa: BLE001 - as said above
            self._context.telemetry.event("step_failed", step="submit", reason=repr(error)[:500])
            for each in bundle:
                self._in_hand.drop(each.file)

    async def _serve(self, bundle: Sequence[ExaminedFile], *, probing: bool) -> None:
        """Open a dialog and upload what it has places for; another dialog takes the rest."""
        try:
            session = await self._opener.open([each.file.id for each in bundle])
        except GiveUp as error:
            await self._end_all(bundle, error)
            return
        if session is None:
            await self._hand_back([each.file for each in bundle], ErrorCode.NO_DIALOG)
            return
        planned = _plan(bundle, session.node.categories)
        by_file = {each.file.id: each for each in bundle}
        async with anyio.create_task_group() as tasks:
            for file, reason in planned.rejections:
                rejection, each = SourceRejected(reason.message, code=reason.code), by_file[file]
                verdict = submission.ended(each.file, FileState.REJECTED, rejection)
                tasks.start_soon(self._record, each.file, replace(verdict, traits=each.traits()))
            for load in planned.loads[1:]:
                rest = [by_file[each.file] for each in load.assignments]
                tasks.start_soon(partial(self._serve, rest, probing=probing))
            if planned.loads:
                await self._use(session, planned.loads[0].assignments, by_file, probing=probing)

    async def _use(
        self,
        session: DialogSession,
        assignments: Sequence[Assignment],
        by_file: dict[FileId, ExaminedFile],
        *,
        probing: bool,
    ) -> None:
        """Upload one load into an open dialog session."""
        needed = await self._needed(session, assignments, by_file)
        if not needed:
            return
        load = [(UploadId(uuid4()), each, by_file[each.file]) for each in needed]
        intents = tuple(
            Intent(upload, ready.file.id, ready.file.token, each.category.name, ready.source.size)
            for upload, each, ready in load
        )
        await self._context.recorder.begin(DialogLoad(self._context.profile, session, intents))
        upload_one = partial(self._upload, session, probing=probing)
        await side_by_side(
            self._in_hand.work(ready.file, partial(upload_one, upload, each, ready))
            for upload, each, ready in load
        )

    async def _needed(
        self,
        session: DialogSession,
        assignments: Sequence[Assignment],
        by_file: dict[FileId, ExaminedFile],
    ) -> list[Assignment]:
        """The uploads that must be now; one that is spared or held leaves its place to others."""
        held = await self._held(assignments, by_file)
        left = [each for each in assignments if each.file not in held]
        spared = await self._saver.spared(left, by_file, session.node)
        for each in assignments:
            if each.file in held | spared:
                self._context.places.give_back(session, each.category)
        for file in spared:
            self._in_hand.drop(by_file[file].file)
        return [each for each in left if each.file not in spared]

    async def _upload(
        self,
        session: DialogSession,
        upload: UploadId,
        assignment: Assignment,
        ready: ExaminedFile,
        *,
        probing: bool,
    ) -> None:
        file = ready.file
        form = form_for(assignment, session.node, file.options.inputs)
        category = assignment.category.name
        verdict = await self._uploader.upload(
            file, ready.source, upload, category, form, probing=probing
        )
        if verdict is None or _is_withdrawn(verdict):
            self._context.places.give_back(session, assignment.category)
        if verdict is None:
            await self._hand_back([file], ErrorCode.THROTTLED)
        else:
            await self._record(file, verdict)

    # --- ends ---

    async def _record(self, file: QueuedFile, verdict: Verdict) -> None:
        await self._context.record(file, verdict)
        self._in_hand.drop(file)

    async def _end_all(self, bundle: Sequence[ExaminedFile], error: IngestError) -> None:
        async with anyio.create_task_group() as tasks:
            for each in bundle:
                verdict = submission.ended(each.file, FileState.FAILED, error)
                tasks.start_soon(self._record, each.file, replace(verdict, traits=each.traits()))

    async def _hand_back(self, files: Sequence[QueuedFile], code: ErrorCode) -> None:
        reason = ErrorNote(code, code.meaning.partition(": ")[2])
        async with anyio.create_task_group() as tasks:
            for file in files:
                tasks.start_soon(self._context.recorder.hand_back, file, reason)
        for file in files:
            self._in_hand.drop(file)


def _plan(ready: Iterable[ExaminedFile], categories: Sequence[Category]) -> Plan:
    return plan(_candidates(ready), categories)


def _candidates(ready: Iterable[ExaminedFile]) -> list[Candidate]:
    return [Candidate(each.file.id, each.source.name, each.file.options.category) for each in ready]


def _is_withdrawn(verdict: Verdict) -> bool:
    """Whether nothing was sent, or for certain nothing taken."""
    return verdict.upload is not None and verdict.upload.state is UploadState.WITHDRAWN
