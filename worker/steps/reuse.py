"""The same bytes once: who has, or waits for, the result of another file is not uploaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from worker.core.lifecycle import FileState
from worker.core.model.files import QueuedFile
from worker.core.model.ids import FileId
from worker.core.model.wire import UploadNode
from worker.core.planning import Assignment, form_for
from worker.core.reuse import Dealt, Wanted, reuse_key
from worker.core.verdicts import Traits
from worker.errors import SourceRejected
from worker.ports.sources import SourceFile
from worker.steps.context import ProfileContext
from worker.steps.grouping import persistently
from worker.steps.loop import side_by_side


@dataclass(frozen=True, slots=True)
class ExaminedFile:
    """A claimed file whose source was looked at; `digest` is what it held then, if that counts."""

    file: QueuedFile
    source: SourceFile
    digest: str | None = None

    def traits(self, category: str | None = None) -> Traits:
        """What is known of it before it is opened."""
        return Traits(category, self.source.size, self.digest or self.source.known_digest)


class UploadSaver:
    """Spares uploads, where the profile asks for it."""

    def __init__(self, context: ProfileContext) -> None:
        self._context = context

    async def digested(
        self, bundle: Sequence[ExaminedFile]
    ) -> tuple[list[ExaminedFile], list[tuple[ExaminedFile, SourceRejected]]]:
        """The bundle with the digests that are needed, and what could not be read for them."""
        if self._context.rules.reuse_within is None:
            return list(bundle), []
        ready: dict[FileId, ExaminedFile] = {}
        unread: list[tuple[ExaminedFile, SourceRejected]] = []

        async def read(each: ExaminedFile) -> None:
            try:
                ready[each.file.id] = ExaminedFile(
                    each.file, each.source, await each.source.digest()
                )
            except SourceRejected as error:
                unread.append((each, error))

        ready |= {each.file.id: each for each in bundle if each.file.forced}
        await side_by_side(read(each) for each in bundle if not each.file.forced)
        return [ready[each.file.id] for each in bundle if each.file.id in ready], unread

    async def spared(
        self,
        assignments: Iterable[Assignment],
        by_file: Mapping[FileId, ExaminedFile],
        node: UploadNode,
    ) -> frozenset[FileId]:
        """The files that are not to be uploaded, nor in hand any more."""
        within = self._context.rules.reuse_within
        if within is None:
            return frozenset()
        wanted = [
            self._wanted(each, by_file[each.file], digest, node)
            for each in assignments
            if (digest := by_file[each.file].digest) is not None
        ]
        dealt = await self._dealt(wanted, within)
        if dealt.reused:
            self._count(len(dealt.reused))
        return frozenset(each.file for each in wanted) - dealt.upload

    def _count(self, number: int) -> None:
        count, profile = self._context.telemetry.count, self._context.profile
        count("chatflow_ingest_results_reused_total", number, profile=profile)
        count(
            "chatflow_ingest_files_ended_total", number, profile=profile, state=FileState.SUCCEEDED
        )

    async def _dealt(self, wanted: Sequence[Wanted], within: float) -> Dealt:
        if not wanted:
            return Dealt()
        store, profile = self._context.store, self._context.profile
        return await persistently(partial(store.reuse, profile, wanted, within))

    def _wanted(
        self, place: Assignment, ready: ExaminedFile, digest: str, node: UploadNode
    ) -> Wanted:
        file, category = ready.file, place.category.name
        form = form_for(place, node, file.options.inputs)
        key = reuse_key(digest, category, form, self._context.rules)
        return Wanted(file.id, file.token, key, category, ready.source.size, digest)
