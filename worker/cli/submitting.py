"""Handing an order to the workers."""

import sys
from contextlib import closing

from worker.cli.concluding import how_to_resume
from worker.cli.interruption import interruptible
from worker.cli.orders import Order, hand_in, nothing_allowed, say_batch
from worker.cli.terminal import put, put_json, say
from worker.cli.waking import wake
from worker.core.lifecycle import Lane
from worker.core.model.ids import BatchId
from worker.core.report import detailed_object
from worker.errors import NothingFound, UsageError


def submit(order: Order, *, as_json: bool, allow_empty: bool) -> None:
    """Write the batch and say its id, then wake the workers.

    Raises:
        UsageError: nothing was found. Who only hands in gets an id or a usage error: exit 1
            speaks of files that were tried.
    """
    try:
        with nothing_allowed(order, as_json=as_json, allowed=allow_empty):
            _submit(order, as_json=as_json)
    except NothingFound as error:
        raise UsageError(error.message) from None


def _submit(order: Order, *, as_json: bool) -> None:
    from worker.bootstrap import open_store
    from worker.intake import undeliverable
    from worker.settings import Settings

    with interruptible():
        settings = Settings.load()
        settings.profile(order.profile, complete=False)  # only the workers need credentials
        if (fault := undeliverable(order.notify, settings)) is not None:
            raise UsageError(f"--{fault}")
        batch = order.new_batch()
        with closing(open_store(settings)) as store:
            # Where the id is read anyhow, on a terminal, it is not said twice.
            tell = _say_nothing if sys.stdout.isatty() and not as_json else say_batch
            hand_in(order, batch, store, settings, embedded=settings.is_embedded, tell=tell)
            if as_json:
                put_json(detailed_object(store.status(batch), store.details(batch)))
            else:
                put(str(batch))
            if settings.is_embedded:
                say(f"no broker is configured, so no worker hears of it; {how_to_resume(batch)}")
            else:
                wake(settings, store, order.profile, Lane.SUBMIT)


def _say_nothing(_: BatchId) -> None:
    return None
