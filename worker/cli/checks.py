"""What ``doctor`` looks at: each check is well, or says what to do."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from worker.core.addresses import bare, scheme_of
from worker.errors import (
    ConfigurationError,
    CredentialsRefused,
    DatabaseNewer,
    IngestError,
    NoUploadNode,
    Redirected,
    TryLater,
)

if TYPE_CHECKING:
    from worker.core.model.wire import DialogSession
    from worker.settings import Settings

CLOCK_TOLERANCE = 5.0
"""Seconds that our clock may differ from the database's before it is worth a word."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `cure` says what to do when it is not well.

    Attributes:
        seconds: how long it took to look.
    """

    name: str
    ok: bool
    detail: str
    cure: str = ""
    seconds: float = 0.0


def faults(name: str, error: ConfigurationError) -> Iterator[Check]:
    """A check for each fault of the configuration."""
    for fault in error.faults:
        yield Check(name, ok=False, detail=fault, cure="set the variable, or add it to .env")


def database_check(settings: "Settings") -> Check:
    """Whether the database answers and has the tables of this version."""
    from worker.adapters.database.engine.revision import HEAD, NEWER_CURE, check_not_newer

    try:
        revision, head = check_not_newer(settings.database_url), HEAD
    except DatabaseNewer as error:
        return Check("database", ok=False, detail=error.message, cure=NEWER_CURE)
    except IngestError as error:
        return Check("database", ok=False, detail=error.message, cure="see INGEST_DATABASE_URL")
    if revision == head:
        return Check("database", ok=True, detail=f"at revision {revision}")
    if revision is None and settings.auto_migrate:
        return Check("database", ok=True, detail="no tables yet; the first command makes them")
    return Check(
        "database",
        ok=False,
        detail=f"at revision {revision or 'none'}, wanted is {head}",
        cure="chatflow-ingest db upgrade",
    )


def clock_check(settings: "Settings", now: Callable[[], float] = time) -> Check:
    """How far our clock is from the database's, which is the one that counts."""
    from worker.bootstrap import open_store

    if settings.database_url.startswith("sqlite"):  # and opening it would make the tables
        return Check("clock", ok=True, detail="SQLite goes by this machine's")

    try:
        with closing(open_store(settings)) as store:
            apart = abs(store.now() - now())
    except IngestError as error:
        return Check("clock", ok=False, detail=error.message, cure="mend the database first")
    return Check(
        "clock",
        ok=apart <= CLOCK_TOLERANCE,
        detail=f"{apart:.1f} s apart from the database's",
        cure="let both machines keep time by NTP",
    )


def service_checks(settings: "Settings", name: str) -> Iterator[Check]:
    """Whether a profile is complete and its service leads to an upload node."""
    from worker.connections import plan_dialog

    label = f"service {name}"
    try:
        session = plan_dialog(settings, name)
    except ConfigurationError as error:
        yield from faults(label, error)
    except IngestError as error:
        yield Check(label, ok=False, detail=error.message, cure=service_cure(error))
    else:
        yield Check(label, ok=True, detail=offer(session))


def offer(session: "DialogSession") -> str:
    """What an upload node takes, in words."""
    offers = (f"{c.name} ({', '.join(c.formats)})" for c in session.node.categories)
    return f"upload node reached; takes {'; '.join(offers) or 'nothing'}"


def service_cure(error: IngestError) -> str:
    """Where to look when the service could not be spoken to, or did not want to."""
    match error:
        case Redirected():
            return "see CHATFLOW_BASE_URL"
        case CredentialsRefused():
            return "see CHATFLOW_ROBOT_KEY, CHATFLOW_ROBOT_TOKEN, CHATFLOW_USERNAME"
        case NoUploadNode():
            return "see CHATFLOW_QUESTION or CHATFLOW_FLOW_UUID, and the flow itself"
        case TryLater():
            return "see CHATFLOW_BASE_URL, proxies and firewalls, or wait"
        case _:
            return "see the message"


def root_check(settings: "Settings", root: str) -> Check:
    """Whether a root is there and can be listed, or asked."""
    if "://" in root:
        return _address_check(settings, root)
    try:
        next(Path(root).iterdir(), None)
    except OSError as error:
        detail = f"{root}: {error.strerror}"
        return Check("root", ok=False, detail=detail, cure="see INGEST_ROOTS")
    return Check("root", ok=True, detail=root)


def _address_check(settings: "Settings", root: str) -> Check:
    from worker.adapters.files.drivers import HTTP, driver_fault
    from worker.adapters.files.remote_files import RemoteFolder

    fault = driver_fault(root)
    if fault is not None:
        words, _, cure = fault.partition(": ")
        return Check("root", ok=False, detail=f"{bare(root)}: {words}", cure=cure)
    if scheme_of(root) in HTTP:  # a folder on the web need not answer for what is in it to do so
        return Check("root", ok=True, detail=f"{bare(root)} (a web address, not looked at)")
    try:
        RemoteFolder(root, settings.source_options).reach()
    except IngestError as error:
        cure = "see INGEST_ROOTS and INGEST_SOURCE_OPTIONS"
        return Check("root", ok=False, detail=error.message, cure=cure)
    return Check("root", ok=True, detail=f"{bare(root)} (reached)")
