"""``metrics``: what waits in the database, for Prometheus, without any worker."""

from __future__ import annotations

from contextlib import closing
from threading import Event
from typing import Annotated

import typer

from worker.cli.interruption import interruptible
from worker.cli.terminal import say

PORT = 9808


def metrics(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = PORT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve Prometheus gauges from the database alone, at /metrics, until Ctrl-C.

    They tell what waits and for how long, whoever is at work: also when no worker lives.
    """
    from worker.bootstrap import open_existing
    from worker.settings import Settings
    from worker.telemetry import serve_gauges

    with interruptible(), closing(open_existing(Settings.load())) as store:
        bound = serve_gauges(host, port, store.overview)
        say(f"metrics at http://{host}:{bound}/metrics")
        Event().wait()
