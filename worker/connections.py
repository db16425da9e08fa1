"""From a profile's settings to connections with its service, and what the steps do with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import anyio

from worker.adapters.chatflow.http import Around, HttpService
from worker.adapters.chatflow.library_logging import silence_libraries
from worker.adapters.chatflow.talk import Connection, Noise, unheard
from worker.adapters.chatflow.websocket import Opening, WebsocketDialogs
from worker.adapters.database import SqlStore
from worker.adapters.files.sources import FileSources
from worker.core.lifecycle import ServiceStatus
from worker.core.model.wire import DialogSession
from worker.core.rules import Rules
from worker.core.timings import Timings
from worker.ports.telemetry import Telemetry
from worker.settings import Profile, Settings
from worker.steps.context import ProfileContext
from worker.steps.recorder import Recorder


def rules_of(profile: Profile, timings: Timings) -> Rules:
    """A profile's limits and choices as the steps know them."""
    return Rules(
        profile=profile.name,
        settle_at=profile.settle_at,
        flow_failed_succeeds=ServiceStatus.FLOW_FAILED in profile.success_statuses,
        poll_deadline=profile.poll_deadline,
        max_upload_attempts=profile.max_upload_attempts,
        on_unknown_upload=profile.on_unknown_upload,
        max_concurrent_uploads=profile.max_concurrent_uploads,
        rate_limit=profile.rate_limit,
        poll_rate_limit=profile.poll_rate_limit,
        poll_price=profile.poll_price,
        unreachable_after=profile.unreachable_after,
        reuse_within=profile.reuse_results,
        break_after=profile.break_after,
        timings=timings,
    )


def check_service(settings: Settings, name: str) -> None:
    """Find out what calls to a profile's service would stumble over; connects nothing.

    Raises:
        ConfigurationError: no call could ever be made.
    """
    profile = settings.profile(name)
    http_of(profile)
    dialogs_of(profile)
    FileSources(settings.roots, profile.max_file_bytes, settings.source_options)


def http_of(profile: Profile, around: Around | None = None) -> HttpService:
    """What uploads this profile's files and asks for their status; `around` sees it happen."""
    return HttpService(
        base_url=profile.base_url or "",
        credentials=profile.credentials(),
        tenant_name=profile.tenant_name,
        ca_bundle=profile.ca_bundle,
        around=around,
    )


def dialogs_of(
    profile: Profile,
    noise: Noise = unheard,
    connection: type[Connection] = Connection,
) -> WebsocketDialogs:
    """What opens this profile's dialogs.

    Args:
        profile: whose service.
        noise: is told of each dialog's messages that are no frames.
        connection: the class of connections to make.
    """
    dialogs = WebsocketDialogs(
        base_url=profile.base_url or "",
        credentials=profile.credentials(),
        opening=Opening(profile.question, profile.message_source, profile.flow_uuid),
        timeout=profile.dialog_timeout,
        ca_bundle=profile.ca_bundle,
        noise=noise,
    )
    dialogs.connection = connection
    return dialogs


def noise_to(telemetry: Telemetry, profile: str) -> Noise:
    """Count all noise, and log it once for each dialog: a service may send any amount."""

    def note(reason: str, messages: int) -> None:
        telemetry.count("chatflow_ingest_dialog_noise_total", messages, profile=profile)
        telemetry.event("dialog_noise", profile=profile, messages=messages, reason=reason)

    return note


def plan_dialog(settings: Settings, profile: str) -> DialogSession:
    """Open one dialog, to see what it offers.

    Raises:
        IngestError: as `ports.service.Dialogs.open`.
    """

    async def open_one() -> DialogSession:
        dialogs = dialogs_of(settings.profile(profile))
        try:
            return await dialogs.open()
        finally:
            await dialogs.aclose()

    silence_libraries()
    return anyio.run(open_one)


@dataclass(frozen=True, slots=True)
class Connections:
    """One profile's service and the connections behind it, which have to be closed."""

    context: ProfileContext
    _http: HttpService
    _dialogs: WebsocketDialogs

    @classmethod
    def make(
        cls,
        settings: Settings,
        name: str,
        *,
        holder: str,
        store: SqlStore,
        recorder: Recorder,
        telemetry: Telemetry,
    ) -> Self:
        """Connect a profile; on the event loop that will use it.

        Raises:
            ConfigurationError: there is no such profile, or it lacks something.
        """
        profile = settings.profile(name)
        http = http_of(profile)
        dialogs = dialogs_of(profile, noise_to(telemetry, name))
        context = ProfileContext(
            rules=rules_of(profile, settings.timings),
            holder=holder,
            store=store,
            recorder=recorder,
            telemetry=telemetry,
            dialogs=dialogs,
            uploads=http,
            statuses=http,
            sources=FileSources(settings.roots, profile.max_file_bytes, settings.source_options),
        )
        return cls(context, http, dialogs)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()
        await self._dialogs.aclose()
