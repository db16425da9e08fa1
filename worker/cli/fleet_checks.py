"""What ``doctor`` looks at in a fleet: who is at work, what waits, and what was given up."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from worker.cli.checks import Check
from worker.cli.program import command
from worker.core.words import counted, duration_text
from worker.errors import IngestError, NoDatabase

if TYPE_CHECKING:
    from worker.core.model.fleet import Overview
    from worker.settings import Settings

BROKER_TIMEOUT = 5
"""Seconds for the broker to answer."""

REPLY_TIMEOUT = 1.0
"""Seconds for workers to say who they are."""

LATE = 120.0
"""Seconds that work may be due before somebody should look."""

TICKS_WITHIN = 60.0
"""Seconds within which a living Beat has had the schedules looked at: six of its ticks."""

MANY_MESSAGES = 1000
"""Messages beyond which a queue grows faster than it is emptied: there is one wake-up at a time."""


def broker_checks(settings: Settings) -> Iterator[Check]:
    """Whether the broker answers, and what waits in its queues."""
    if settings.is_embedded:
        detail = "memory://: embedded mode only, `submit` and workers need a broker"
        yield Check("broker", ok=True, detail=detail)
        return
    from worker.app import configure, readers, waiting_messages

    try:
        app = configure(settings)
        with app.connection_for_write(connect_timeout=BROKER_TIMEOUT) as connection:
            where = connection.as_uri()  # without its password
            connection.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT)
            yield Check("broker", ok=True, detail=f"{where} answers{_trusted(connection.ssl)}")
            yield queue_check(waiting_messages(connection))
            yield from neighbours(settings, readers(REPLY_TIMEOUT))
    except Exception as error:  # noqa: BLE001 -- every transport has exceptions of its own
        words = f"{type(error).__name__}: {error}"
        yield Check("broker", ok=False, detail=words, cure="see INGEST_BROKER_URL")


def neighbours(settings: Settings, readers: dict[str, str | None]) -> Iterator[Check]:
    """Whether somebody reads our queues who does not work on our database."""
    from worker.bootstrap import open_existing

    if not readers:
        return
    try:
        with closing(open_existing(settings)) as store:
            ours = {each.holder for each in store.attendants()}
    except IngestError:
        return  # the database has a line of its own
    others = sorted(node for node, holder in readers.items() if holder not in ours)
    detail = f"{len(readers)} read them, on this database"
    if others:
        detail = f"{', '.join(others)}: on another database, or no worker of this version"
    cure = (
        "give each installation an INGEST_NAMESPACE, a virtual host or a database number of its"
        " own, or else each takes the other's batches"
    )
    yield Check("queues' readers", ok=not others, detail=detail, cure=cure)


def _trusted(tls: object) -> str:
    """A word about a broker that is believed whoever it is."""
    words = tls.values() if isinstance(tls, dict) else ()
    return ", its certificate is not looked at" if ssl.CERT_NONE in words else ""


def fleet_checks(settings: Settings) -> Iterator[Check]:
    """Workers, work that is late, notifications and Beat, as the database knows them."""
    from worker.bootstrap import open_existing

    try:
        with closing(open_existing(settings)) as store:
            seen = store.overview()
            yield dead_letters(seen)
            if not settings.is_embedded:
                yield workers(seen)
                yield lateness(seen)
                if settings.schedules is not None:
                    yield beat(store.ticked_ago())
    except NoDatabase:
        return  # nothing was handed in yet
    except IngestError as error:
        yield Check("fleet", ok=False, detail=error.message, cure="mend the database first")


def workers(seen: Overview) -> Check:
    """Whether anybody is at work, should there be anything to do."""
    waiting = sum(seen.open_files.values())
    if seen.workers:
        detail = f"{seen.workers} at work, {counted(waiting, 'open file')}"
        return Check("workers", ok=True, detail=detail)
    if not waiting:
        return Check("workers", ok=True, detail="nobody is at work, and nothing waits")
    return Check(
        "workers",
        ok=False,
        detail=f"nobody is at work, with {counted(waiting, 'open file')} waiting",
        cure="celery -A worker worker",
    )


def lateness(seen: Overview) -> Check:
    """Whether work that is due is taken up."""
    late = max(seen.oldest_due.values(), default=0.0)
    detail = f"due for {duration_text(late)}" if late else "nothing is due"
    cure = f"more workers or higher limits; see {command('status')} for what holds the profile"
    return Check("oldest due", ok=late <= LATE, detail=detail, cure=cure)


def dead_letters(seen: Overview) -> Check:
    """Whether notifications had to be given up."""
    detail = f"{seen.notifications} to be sent, {seen.notifications_dead} given up"
    cure = f"{command('notify', 'list')}, then {command('notify', 'replay')}"
    return Check("notifications", ok=not seen.notifications_dead, detail=detail, cure=cure)


def beat(ticked_ago: float | None) -> Check:
    """Whether Beat, and a worker for its ticks, live; there is no other sign of it."""
    alive = ticked_ago is not None and ticked_ago <= TICKS_WITHIN
    if ticked_ago is None:
        detail = "the schedules were never looked at"
    else:
        detail = f"the schedules were looked at {duration_text(ticked_ago)} ago"
    cure = "celery -A worker beat, with the same INGEST_SCHEDULES, and a worker"
    return Check("beat", ok=alive, detail=detail, cure=cure)


def queue_check(depths: dict[str, int]) -> Check:
    """How many messages wait in each queue of the broker."""
    told = ", ".join(f"{name} {count}" for name, count in depths.items())
    deep = max(depths.values(), default=0) > MANY_MESSAGES
    cure = "start workers (without -Q, one serves all queues), or look why they hang"
    return Check("queues", ok=not deep, detail=told or "none yet", cure=cure)
