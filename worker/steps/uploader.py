"""One upload: a slot, an allowance, `sent` in the ledger, the call, and what it came to."""

from __future__ import annotations

from dataclasses import replace

import anyio

from worker.core import submission
from worker.core.model.files import QueuedFile
from worker.core.model.ids import Crew, UploadId
from worker.core.model.wire import UploadForm
from worker.core.reuse import reuse_key
from worker.core.verdicts import Traits, Verdict
from worker.errors import (
    IngestError,
    ProfileStopped,
    ServiceBusy,
    ServiceUnreachable,
    SourceRejected,
    UploadUnknown,
)
from worker.ports.sources import SourceContent, SourceFile
from worker.steps.context import ProfileContext


class Uploader:
    """Uploads files of one crew, each as its ledger entry allows."""

    def __init__(self, context: ProfileContext, crew: Crew) -> None:
        self._context = context
        self._crew = crew

    async def upload(
        self,
        file: QueuedFile,
        source: SourceFile,
        upload: UploadId,
        category: str,
        form: UploadForm,
        *,
        probing: bool,
    ) -> Verdict | None:
        """Make one upload that the ledger holds as an intent.

        Returns what becomes of the file, or None to hand it back: the service wants a rest, or
        the file is not ours any more.
        """
        context = self._context
        sent, content = False, None
        try:
            async with context.slots, source.open() as content:
                await context.upload_calls.spend()
                if context.gate.left("upload"):
                    return None
                if not await context.recorder.sent(context.profile, file.id, upload):
                    return None
                sent = True
                verdict = await self._send(file, upload, category, form, content)
        except IngestError as raised:
            error = await context.trial.judge(raised)
            await self._learn(error, probing=probing)
            verdict = submission.not_accepted(file, upload, error, context.rules, sent=sent)
            known = Traits(category, source.size, source.known_digest)
            return replace(verdict, traits=_traits(category, content) if content else known)
        if probing:
            await context.thaw("upload")
        return verdict

    async def _send(
        self,
        file: QueuedFile,
        upload: UploadId,
        category: str,
        form: UploadForm,
        content: SourceContent,
    ) -> Verdict:
        context = self._context
        try:
            reply = await context.timed("upload", context.uploads.upload(form, content), file.id)
        except anyio.get_cancelled_exc_class():
            # The process stops and can't wait for the reply: say honestly that nobody knows.
            # The caller's scope is shielded, so this verdict still gets recorded.
            stopped = UploadUnknown("the worker was stopped before the reply came")
            with anyio.CancelScope(shield=True):
                await context.recorder.verdict(
                    replace(
                        submission.unknown(file, upload, stopped, context.rules),
                        traits=_traits(category, content),
                    )
                )
            raise
        context.reach.reached()
        self._count("accepted")
        return submission.accepted(
            file,
            upload,
            reply,
            context.rules,
            self._taken(category, form, content),
            context.learning.first_wait(file, category, content.size),
        )

    def _taken(self, category: str, form: UploadForm, content: SourceContent) -> Traits:
        """What was really sent, whatever the source held when it was looked at."""
        rules, traits = self._context.rules, _traits(category, content)
        if rules.reuse_within is None or traits.sha256 is None:
            return traits
        return replace(traits, reuse_key=reuse_key(traits.sha256, category, form, rules))

    async def _learn(self, error: IngestError, *, probing: bool) -> None:
        """Tell the fleet what a failed upload says about the service."""
        context = self._context
        self._count(type(error).code)
        match error:
            case ServiceBusy():
                context.reach.reached()
                await context.busy("upload", error)
            case ProfileStopped():
                await context.stop(self._crew, error)
            case ServiceUnreachable():
                context.reach.missed()
            case SourceRejected():
                pass
            case _:
                context.reach.reached()
                if probing:
                    await context.thaw("upload")

    def _count(self, outcome: str) -> None:
        self._context.telemetry.count(
            "chatflow_ingest_uploads_total", profile=self._context.profile, outcome=outcome
        )


def _traits(category: str, content: SourceContent) -> Traits:
    return Traits(category, content.size, content.sha256)
