"""The composition root: settings become adapters, adapters become what the steps work with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import anyio

from worker.adapters.database import HEAD, SqlStore, check_revision, current
from worker.adapters.database import open_store as connect
from worker.adapters.http import HttpService
from worker.adapters.silence import silence_libraries
from worker.adapters.sources import FileSources
from worker.adapters.websocket import WebsocketDialogs
from worker.core.model import (
    BatchId,
    BatchOptions,
    DialogSession,
    NewBatch,
    fleet,
    run_crew,
)
from worker.core.rules import Rules
from worker.ports import Batches, Telemetry
from worker.settings import Profile, Settings
from worker.steps.recorder import Recorder
from worker.steps.register import register
from worker.steps.service import Service


def open_store(settings: Settings) -> SqlStore:
    """The store, with its tables in place.

    Raises:
        DatabaseBehind: the tables are missing or old, and may not be migrated by themselves.
        StoreUnavailable: the database can't be reached.
    """
    if settings.auto_migrate and current(settings.database_url) != HEAD:
        from worker.adapters.database.migrate import upgrade

        upgrade(settings.database_url)
    else:
        check_revision(settings.database_url)
    return connect(settings.database_url)


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
class HandIn:
    """What a user hands in, apart from the files.

    Attributes:
        inputs: further flow variables, a JSON object as text.
        embedded: True when a `run` of this process attends to the batch, not the fleet.
        part: (number, of how many) when the batch comes in several messages.
    """

    batch: BatchId
    profile: str = "default"
    external_key: str | None = None
    category: str | None = None
    inputs: str | None = None
    notify: dict[str, str] | None = None
    after: str = "leave"
    embedded: bool = False
    part: tuple[int, int] | None = None


def hand_in(
    store: Batches,
    request: HandIn,
    sources: Iterable[str],
    *,
    on_batch: Callable[[BatchId], None] = lambda _: None,
) -> int:
    """Register a batch; see `steps.register.register`. Returns how many files were new."""
    crew = run_crew(request.batch) if request.embedded else fleet(request.profile)
    batch = NewBatch(
        id=request.batch,
        profile=request.profile,
        crew=crew,
        external_key=request.external_key,
        options=BatchOptions(request.category, request.inputs),
        notify=request.notify,
        after=request.after,
    )
    return register(store, batch, sources, part=request.part, on_batch=on_batch)


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
