"""From a profile's settings to connections with its service, and what the steps do with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import anyio

from worker.adapters.database import SqlStore
from worker.adapters.http import HttpService
from worker.adapters.silence import silence_libraries
from worker.adapters.sources import FileSources
from worker.adapters.websocket import WebsocketDialogs
from worker.core.model import DialogSession
from worker.core.rules import Rules
from worker.ports import Telemetry
from worker.settings import Profile, Settings
from worker.steps.recorder import Recorder
from worker.steps.service import Service


def rules_of(profile: Profile) -> Rules:
    """A profile's limits and choices as the steps know them."""
    return Rules(
        profile=profile.name,
        settle_at=profile.settle_at,
        poll_deadline=profile.poll_deadline,
        max_upload_attempts=profile.max_upload_attempts,
        on_unknown_upload=profile.on_unknown_upload,
        max_concurrent_uploads=profile.max_concurrent_uploads,
        rate_limit=profile.rate_limit,
        poll_rate_limit=profile.poll_rate_limit,
        poll_price=profile.poll_price,
        unreachable_after=profile.unreachable_after,
    )


def check_service(settings: Settings, name: str) -> None:
    """Find out what calls to a profile's service would stumble over; connects nothing.

    Raises:
        ConfigurationError: no call could ever be made.
    """
    profile = settings.profile(name)
    http_of(profile)
    dialogs_of(profile)
    FileSources(settings.roots, profile.max_file_bytes)


def http_of(profile: Profile) -> HttpService:
    """What uploads this profile's files and asks for their status."""
    return HttpService(
        base_url=profile.base_url or "",
        credentials=profile.credentials(),
        tenant_name=profile.tenant_name,
        ca_bundle=profile.ca_bundle,
    )


def dialogs_of(profile: Profile) -> WebsocketDialogs:
    """What opens this profile's dialogs."""
    return WebsocketDialogs(
        base_url=profile.base_url or "",
        credentials=profile.credentials(),
        question=profile.question,
        message_source=profile.message_source,
        flow_uuid=profile.flow_uuid,
        timeout=profile.dialog_timeout,
        ca_bundle=profile.ca_bundle,
    )


def plan_dialog(settings: Settings, profile: str) -> DialogSession:
    """Open one dialog, to see what it offers.

    Raises:
        IngestError: as `ports.Dialogs.open`.
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

    service: Service
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
        dialogs = dialogs_of(profile)
        service = Service(
            rules=rules_of(profile),
            holder=holder,
            store=store,
            recorder=recorder,
            telemetry=telemetry,
            dialogs=dialogs,
            uploads=http,
            statuses=http,
            sources=FileSources(settings.roots, profile.max_file_bytes),
        )
        return cls(service, http, dialogs)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()
        await self._dialogs.aclose()
