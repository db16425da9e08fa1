"""One upload: a slot, an allowance, `sent` in the ledger, the call, and what it came to."""

from __future__ import annotations

import anyio

from worker.core import submission
from worker.core.model import ClaimedFile, Crew, UploadForm, UploadId, Verdict
from worker.errors import (
    CredentialsRefused,
    IngestError,
    ServiceBusy,
    ServiceUnreachable,
    SourceRejected,
    UploadUnknown,
)
from worker.ports import SourceContent, SourceFile
from worker.steps.service import Service


class Uploading:
    """Uploads files of one crew, each as its ledger entry allows."""

    def __init__(self, service: Service, crew: Crew) -> None:
        self._service = service
        self._crew = crew

    async def upload(
        self,
        file: ClaimedFile,
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
        service = self._service
        sent = False
        try:
            async with service.slots, source.open() as content:
                await service.upload_calls.spend()
                if service.gate.left("upload"):
                    return None
                if not await service.recorder.sent(service.profile, file.id, upload):
                    return None
                sent = True
                verdict = await self._send(file, upload, category, form, content)
        except IngestError as error:
            await self._learn(error, probing=probing)
            return submission.not_accepted(file, upload, error, service.rules, sent=sent)
        if probing:
            await service.thaw("upload")
        return verdict

    async def _send(
        self,
        file: ClaimedFile,
        upload: UploadId,
        category: str,
        form: UploadForm,
        content: SourceContent,
    ) -> Verdict:
        service = self._service
        try:
            reply = await service.timed("upload", service.uploads.upload(form, content))
        except anyio.get_cancelled_exc_class():
            # The process stops and can't wait for the reply: say honestly that nobody knows.
            # The caller's scope is shielded, so this verdict still gets recorded.
            with anyio.CancelScope(shield=True):
                await service.recorder.verdict(
                    submission.unknown(
                        file,
                        upload,
                        UploadUnknown("the worker was stopped before the reply came"),
                        service.rules,
                    )
                )
            raise
        service.reach.reached()
        self._count("accepted")
        return submission.accepted(
            file,
            upload,
            reply,
            service.rules,
            submission.Sent(category, content.size, content.sha256),
            service.learning.first_wait(file, category, content.size),
        )

    async def _learn(self, error: IngestError, *, probing: bool) -> None:
        """Tell the fleet what a failed upload says about the service."""
        service = self._service
        self._count(type(error).code)
        match error:
            case ServiceBusy():
                service.reach.reached()
                await service.busy("upload", error)
            case CredentialsRefused():
                await service.refused(self._crew, error)
            case ServiceUnreachable():
                service.reach.missed()
            case SourceRejected():
                pass
            case _:
                service.reach.reached()
                if probing:
                    await service.thaw("upload")

    def _count(self, outcome: str) -> None:
        self._service.telemetry.count(
            "chatflow_ingest_uploads_total", profile=self._service.profile, outcome=outcome
        )
