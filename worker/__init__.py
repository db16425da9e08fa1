"""Durable batch ingestion of files into a chatflow service.

The database is the truth, the core decides, adapters obey, steps connect them, and Celery only
wakes them up.

===================  ==============================================================================
``codes``            what can go wrong: a fixed word for each, its meaning and its cure
``errors``           the error tree, split by what the caller does next
``core``             pure: protocol messages, the dialog, states, planning, pacing
``ports``            what the steps need from the world, as Protocols
``steps``            the use cases: register, submit, poll, sweep, finish, notify, schedule
``adapters``         the outside world: service, files, database, webhooks, exports
``settings``         the only reader of the environment, and where each setting comes from
``telemetry``        log events and metrics, as operators see them
``bootstrap``        settings -> database, and batches handed in to it
``connections``      settings -> the service's adapters -> what the steps work with
``intake``           the door for messages that hand files in: checked before anything is written
``firing``           what schedules need: folders to list, batches to hand in
``trial``            one file all the way without a database, for `doctor`
``runtime``          what one process needs to work: event loop, connections, shifts
``process``          the life of a worker process: first checks, drain, end
``remote``           what a worker answers to Flower's buttons, `celery control` and `doctor`
``consumer``         refuses messages that are no proper task messages
``app``, ``tasks``   the Celery application and one thin task per step
``embedded``         the same tasks in one process, for one batch
``beat``             Beat's scheduler, which keeps its entries in memory
``health``           whether the worker of this machine is well: `python -m worker.health`
``flower``           pages about batches in Flower, and its password
``client``           what upstream Python jobs import
``cli``              the command line
``simulator``        a stand-in for the service, for demos and tests
===================  ==============================================================================

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
        import gc
        import importlib

        # To look for garbage while modules are made takes an eighth of a start, and finds none.
        collects = gc.isenabled()
        gc.disable()
        try:
            # Tasks are imported with the application, so that every way to load it knows them.
            return importlib.import_module("worker.tasks").configured_app()
        finally:
            if collects:
                gc.enable()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
