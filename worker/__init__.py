"""Durable batch ingestion of files into a chatflow service.

The database is the truth, the core decides, adapters obey, steps connect them, and Celery only
wakes them up.

==================  ===============================================================================
``errors``          the error tree, split by what the caller does next
``core``            pure: protocol messages, the dialog, states, planning, pacing
``ports``           what the steps need from the world, as Protocols
``steps``           the use cases: register, submit, poll, sweep, finish, notify, schedule
``adapters``        HTTP, websocket, sources, database: each the only importer of its library
``settings``        the only reader of the environment
``bootstrap``       settings -> database, and batches handed in to it
``connections``     settings -> the service's adapters -> what the steps work with
``runtime``         what one process needs to work: event loop, connections, shifts
``process``         the life of a worker process: first checks, drain, end
``app``, ``tasks``  the Celery application and one thin task per step
``embedded``        the same tasks in one process, for one batch
``client``          what upstream Python jobs import
``cli``             the command line
``simulator``       a stand-in for the service, for demos and tests
==================  ===============================================================================

``celery -A worker ...`` finds the application as the attribute ``celery`` of this package; it is
imported only when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery import Celery

    celery: Celery


def __getattr__(name: str) -> object:
    if name in {"celery", "app"}:
        import importlib

        # Tasks are imported with the application, so that every way to load it knows them.
        return importlib.import_module("worker.tasks").configured_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
