"""Where everything begins: the settings' database, and the batches that are handed in to it.

Connections to the service are made elsewhere (`worker.connections`), so that a command that only
looks at the database does not pay for their libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from worker.adapters.database import HEAD, SqlStore, check_revision, current, exists
from worker.adapters.database import open_store as connect
from worker.core.model.batches import BatchOptions, NewBatch
from worker.core.model.ids import BatchId, fleet, run_crew
from worker.errors import NoDatabase
from worker.ports.batches import Batches
from worker.settings import Settings
from worker.steps.register import Part, register


def open_store(settings: Settings) -> SqlStore:
    """The store, with its tables in place.

    Raises:
        DatabaseBehind: the tables are missing or old, and may not be migrated by themselves.
        StoreUnavailable: the database can't be reached.
    """
    if settings.auto_migrate and current(settings.database_url) != HEAD:
        from worker.adapters.database.engine.migrate import upgrade

        upgrade(settings.database_url)
    else:
        check_revision(settings.database_url)
    return connect(settings.database_url)


def open_existing(settings: Settings) -> SqlStore:
    """The store of a database that is there already: for commands that hand nothing in.

    Raises:
        NoDatabase: it has no tables, and would get them only by handing something in.
        DatabaseBehind, StoreUnavailable: as `open_store`.
    """
    if settings.auto_migrate and not exists(settings.database_url):
        raise NoDatabase("there is no database yet: `chatflow-ingest run` or `submit` makes it")
    return open_store(settings)


@dataclass(frozen=True, slots=True)
class HandInRequest:
    """What a user hands in, apart from the files.

    Attributes:
        inputs: further flow variables, a JSON object as text.
        embedded: True when a `run` of this process attends to the batch, not the fleet.
        part: which one, when the hand-in comes in several messages.
    """

    batch: BatchId
    profile: str = "default"
    external_key: str | None = None
    category: str | None = None
    inputs: str | None = None
    notify: dict[str, str] | None = None
    after: str = "leave"
    force: bool = False
    embedded: bool = False
    part: Part | None = None


def hand_in(
    store: Batches,
    request: HandInRequest,
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
        force=request.force,
    )
    return register(store, batch, sources, part=request.part, on_batch=on_batch)
