"""What a user hands in, and writing it to the database."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import typer

from worker.cli.exit_codes import OK
from worker.cli.nothing import some
from worker.cli.options import Selection
from worker.cli.program import command
from worker.cli.terminal import put_json, say
from worker.core.lifecycle import BatchState
from worker.core.model.ids import BatchId
from worker.errors import NothingFound, UnknownBatch, UsageError

if TYPE_CHECKING:
    from worker.bootstrap import HandInRequest
    from worker.ports.store import Store
    from worker.settings import Settings

LOOK_EVERY = 1.0
"""Seconds between two looks at the batch while its files are being listed."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a user hands in: the files, and what holds for all of them."""

    selection: Selection
    profile: str = "default"
    category: str | None = None
    external_key: str | None = None
    inputs: str | None = None
    notify: dict[str, str] | None = None
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse what no message could hand in either."""
        from worker.core.order import BatchOrder

        fields = ("profile", "category", "external_key", "inputs", "notify")
        try:
            BatchOrder.checked({"files": [], **{name: getattr(self, name) for name in fields}})
        except ValueError as error:
            raise UsageError(str(error)) from None

    def new_batch(self) -> BatchId:
        """The batch's id: the same for the same external key, else a new one."""
        if self.external_key is None:
            return BatchId(uuid4())
        from worker.core.naming import batch_id_for

        return BatchId(batch_id_for(self.profile, self.external_key))


@contextmanager
def nothing_allowed(order: Order, *, as_json: bool, allowed: bool) -> Iterator[None]:
    """Where there is nothing to ingest, say so in the form that was asked for; 0 if allowed.

    Raises:
        NothingFound: it is not allowed.
    """
    try:
        yield
    except NothingFound as error:
        if as_json:
            from worker.core.report import nothing_object

            put_json(nothing_object(order.profile, order.external_key))
        if not allowed:
            raise
        say(error.message.splitlines()[0])
        raise typer.Exit(OK) from None


def say_batch(batch: BatchId) -> None:
    """The batch's id, as soon as it is known."""
    say(f"batch {batch}", "batch", batch=str(batch))


def hand_in(
    order: Order,
    batch: BatchId,
    store: "Store",
    settings: "Settings",
    *,
    embedded: bool,
    look: Callable[[], None] = lambda: None,
    tell: Callable[[BatchId], None] = say_batch,
) -> None:
    """Write the batch and its files to the database.

    Args:
        look: is called every second or so while the files are being listed.
        tell: is told the batch's id as soon as it is there.

    Raises:
        NothingFound: there is no file to hand in; no batch was made.
    """
    from worker.bootstrap import hand_in as write

    _refuse_cancelled(batch, store)
    request = _request(order, batch, embedded=embedded)
    try:
        sources = some(order.selection.sources(settings), order.selection)
        write(store, request, _looking(sources, look), on_batch=tell)
    except SystemExit:
        say("interrupted while files were being handed in: the batch has only the first of them")
        if order.external_key:
            say("the same command again hands in the rest")
        else:
            say(f"drop it with: {command('cancel', batch)}")
        raise


def _request(order: Order, batch: BatchId, *, embedded: bool) -> "HandInRequest":
    from worker.bootstrap import HandInRequest

    return HandInRequest(
        batch=batch,
        profile=order.profile,
        external_key=order.external_key,
        category=order.category,
        inputs=order.inputs,
        notify=order.notify,
        force=order.force,
        embedded=embedded,
    )


def _refuse_cancelled(batch: BatchId, store: "Store") -> None:
    """What is handed in to a cancelled batch would be cancelled with it."""
    with suppress(UnknownBatch):
        if store.status(batch).state is BatchState.CANCELLED:
            raise UsageError(
                f"batch {batch} of this external key was cancelled: open it again with "
                f"`chatflow-ingest retry {batch} --only cancelled`, or choose another key"
            )


def _looking(sources: Iterator[str], look: Callable[[], None]) -> Iterator[str]:
    looked = time.monotonic()
    for source in sources:
        yield source
        if time.monotonic() - looked >= LOOK_EVERY:
            look()
            looked = time.monotonic()
