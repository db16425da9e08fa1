"""``notify``: what batches tell when they are finished."""

from contextlib import closing

import typer

from worker.cli.options import OptionalBatch, batch_id
from worker.cli.terminal import put
from worker.cli.waking import wake_notify

app = typer.Typer(name="notify", help="Notifications of finished batches.", no_args_is_help=True)


@app.callback()
def notify() -> None:
    """Notifications of finished batches."""


@app.command()
def replay(batch: OptionalBatch = None) -> None:
    """Send again what could not be delivered: of one batch, or of all."""
    from worker.bootstrap import open_store
    from worker.settings import Settings

    wanted = None if batch is None else batch_id(batch)
    settings = Settings.load()
    with closing(open_store(settings)) as store:
        if wanted is not None:
            store.status(wanted)
        count = store.replay(wanted)
    put(f"{count} to be sent again")
    if count and not settings.is_embedded:
        wake_notify(settings)
