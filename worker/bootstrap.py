"""The composition root: settings become adapters, adapters become steps.

``Runtime`` is what one process needs to work: an event loop in a thread of its own that does all
the talking, while Celery's task threads merely wait for it. It knows nothing about the pool that
it runs under: prefork, threads and solo each get one per process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Lock
from uuid import uuid4

import anyio
from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from worker.adapters.database import SqlStore, check_revision
from worker.adapters.database import open_store as connect
from worker.adapters.database.migrate import upgrade
from worker.adapters.http import HttpService
from worker.adapters.silence import silence_libraries
from worker.adapters.sources import FileSources
from worker.adapters.websocket import WebsocketDialogs
from worker.core.lifecycle import Lane
from worker.core.model import (
    BatchId,
    BatchOptions,
    Crew,
    DialogSession,
    Due,
    NewBatch,
    fleet,
    is_run,
    run_crew,
)
from worker.core.rules import Rules
from worker.errors import IngestError, StoreUnavailable
from worker.ports import Batches, Telemetry, Waker
from worker.settings import Profile, Settings
from worker.steps import sweep
from worker.steps.poll import Polling
from worker.steps.recorder import Recorder
from worker.steps.register import register
from worker.steps.service import Service
from worker.steps.shift import Pace
from worker.steps.stopping import Stopping
from worker.steps.submit import Submitting
from worker.telemetry import LogTelemetry

SUBMIT_SLICE = 120.0
POLL_SLICE = 30.0
"""Seconds that a shift goes on claiming: long beside what it costs to start one. Uploads may be
long, and a shift that ends waits for its last one."""


def open_store(settings: Settings) -> SqlStore:
    """The store, with its tables in place.

    Raises:
        DatabaseBehind: the tables are missing or old, and may not be migrated by themselves.
        StoreUnavailable: the database can't be reached.
    """
    if settings.auto_migrate:
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
class Hours:
    """How a process works, in seconds.

    Attributes:
        grace: how long what is in hand may take to end once the process is told to stop.
        tick: between two sweeps.
    """

    grace: float = 25.0
    tick: float = 1.0


class Runtime:
    """One process's event loop, connections and shifts."""

    def __init__(
        self,
        settings: Settings,
        store: SqlStore,
        waker: Waker,
        *,
        telemetry: Telemetry | None = None,
        mine: Callable[[Crew], bool] = lambda crew: not is_run(crew),
        hours: Hours | None = None,
    ) -> None:
        silence_libraries()
        self.settings = settings
        self.store = store
        self.telemetry = telemetry or LogTelemetry()
        self._waker = waker
        self._mine = mine
        self._hours = hours or Hours()
        self._holder = str(uuid4())
        self._exits = ExitStack()
        self._portal: BlockingPortal = self._exits.enter_context(start_blocking_portal("asyncio"))
        self._services: dict[str, tuple[Service, HttpService, WebsocketDialogs]] = {}
        self._at_work: set[tuple[Crew, Lane]] = set()
        self._lock = Lock()
        self._background: list[Future[None]] = []
        self._stop: Stopping = self._portal.call(Stopping)
        self._recorder: Recorder = self._portal.call(Recorder, store)
        self._background.append(self._portal.start_task_soon(self._recorder.run))

    # --- called from Celery's threads ---

    def shift(self, lane: Lane, profile: str, crew: Crew) -> None:
        """Work a shift, unless this process works the same one already."""
        with self._lock:
            if (crew, lane) in self._at_work:
                return
            self._at_work.add((crew, lane))
        try:
            wait = self._portal.call(self._work, lane, profile, crew)
        except StoreUnavailable as error:
            self.telemetry.event("store_unavailable", reason=error.message)
            return
        finally:
            with self._lock:
                self._at_work.discard((crew, lane))
        if wait is not None and wait <= sweep.LOOK_AHEAD and not self._stop:
            self._waker.wake(profile, crew, lane)

    def start_ticking(self, also: Callable[[], None] = lambda: None) -> None:
        """Sweep from now on, so that work goes on though nobody else wakes us.

        Args:
            also: called at every sweep, from a thread.
        """
        self._background.append(self._portal.start_task_soon(self._tick_on, also))

    def sweep(self) -> None:
        """Sweep once."""
        sweep.finish(self.store, self.telemetry)
        sweep.wake_due(self.store, self._waker, mine=self._mine, busy=self._is_busy)

    def drain(self) -> None:
        """Claim nothing more; shifts bring what is in hand to an end and return."""
        self._portal.start_task_soon(self._set_stop)

    def close(self) -> None:
        """Let go of everything; call it when no shift runs any more."""
        try:
            self._portal.call(self._close)
        finally:
            for task in self._background:
                task.cancel()
            self._exits.close()

    # --- on the event loop ---

    async def _work(self, lane: Lane, profile: str, crew: Crew) -> float | None:
        service = await self._service(profile)
        ceiling = service.rules.max_concurrent_uploads
        match lane:
            case Lane.SUBMIT:
                # Large claims fill dialog sessions well; half of the room is always at work.
                room = 4 * ceiling + 32
                pace = Pace(
                    room=room,
                    claim=room,
                    least=room // 2,
                    slice=SUBMIT_SLICE,
                    grace=self._hours.grace,
                )
                return await Submitting(service, crew, self._stop, pace).run()
            case Lane.POLL:
                pace = Pace(room=256, claim=128, slice=POLL_SLICE, grace=self._hours.grace)
                return await Polling(service, crew, self._stop, pace).run()

    async def _service(self, name: str) -> Service:
        """The profile's service, made on first use: on the loop, where its connections live."""
        if name not in self._services:
            profile = self.settings.profile(name)
            http = HttpService(
                base_url=profile.base_url or "",
                credentials=profile.credentials(),
                tenant_name=profile.tenant_name,
                ca_bundle=profile.ca_bundle,
            )
            dialogs = dialogs_of(profile)
            service = Service(
                rules=rules_of(profile),
                holder=self._holder,
                store=self.store,
                recorder=self._recorder,
                telemetry=self.telemetry,
                dialogs=dialogs,
                uploads=http,
                statuses=http,
                sources=FileSources(self.settings.roots, profile.max_file_bytes),
            )
            self._services[name] = (service, http, dialogs)
        return self._services[name][0]

    async def _tick_on(self, also: Callable[[], None]) -> None:
        while not self._stop:
            try:
                await to_thread.run_sync(also)
                await to_thread.run_sync(self.sweep)
                for profile in await to_thread.run_sync(self.store.paused):
                    service = await self._service(profile)
                    await sweep.probe(self.store, service.dialogs, profile, self.telemetry)
            except StoreUnavailable as error:
                self.telemetry.event("store_unavailable", reason=error.message)
            except IngestError as error:
                self.telemetry.event("step_failed", step="sweep", reason=error.message)
            await self._stop.sleep(self._hours.tick)

    def _is_busy(self, due: Due) -> bool:
        return (due.crew, due.lane) in self._at_work

    async def _set_stop(self) -> None:
        self._stop.set()

    async def _close(self) -> None:
        self._stop.set()
        await self._recorder.flush()
        for service, http, dialogs in self._services.values():
            give_up = partial(self.store.give_up_share, service.profile, self._holder)
            with anyio.move_on_after(2):
                await to_thread.run_sync(give_up, abandon_on_cancel=True)
            await http.aclose()
            await dialogs.aclose()
