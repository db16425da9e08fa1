"""What a worker answers from afar: to Flower's buttons, to `celery control` and to `doctor`.

Celery answers a wish that it can't fulfil with an exception, and a traceback in the worker's log.
Here it is a word to whoever asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from celery.worker.control import Panel

from worker.app import INSTALLATION
from worker.process import holder

Answer = dict[str, Any]
Command = Callable[..., Answer]


def ingest_installation(*_: Any, **__: Any) -> Answer:
    """Say under which name this process attends to its database; null until it does."""
    return {"holder": holder()}


def with_a_word(command: Command) -> Command:
    """The same command; where it can't be done it says so."""
    resizes = command.__name__ in {"pool_grow", "pool_shrink"}

    @wraps(command)
    def try_it(state: Any, *args: Any, **options: Any) -> Answer:
        if resizes and not hasattr(state.consumer.pool, "grow"):
            return {"error": "this pool has one place, and no more"}
        try:
            return command(state, *args, **options)
        except ValueError as error:
            return {"error": str(error)}

    return try_it


def add_commands(known: dict[str, Command]) -> None:
    """Put ours among the commands that Celery knows."""
    known[INSTALLATION] = ingest_installation
    for name in ("pool_grow", "pool_shrink", "pool_restart", "autoscale"):
        known[name] = with_a_word(known[name])


add_commands(Panel.data)
