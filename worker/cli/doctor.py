"""``doctor``: is everything there that a batch needs; each line ok, or what to do."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

import typer

from worker.cli.faults import NOT_ALL, OK
from worker.cli.interruption import interruptible
from worker.cli.options import AsJson
from worker.cli.terminal import put, put_json, shown
from worker.errors import (
    ConfigurationError,
    CredentialsRefused,
    IngestError,
    NoUploadNode,
    TryLater,
)

if TYPE_CHECKING:
    from worker.core.model import DialogSession
    from worker.settings import Settings

CLOCK_TOLERANCE = 5.0
"""Seconds that our clock may differ from the database's before it is worth a word."""

BROKER_TIMEOUT = 5
"""Seconds for the broker to answer."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `cure` says what to do when it is not well."""

    name: str
    ok: bool
    detail: str
    cure: str = ""


def doctor(*, as_json: AsJson = False) -> None:
    """Look at configuration, database, broker, service, roots and clock. Exit 1 if any is amiss.

    Opens one dialog with each profile's service; uploads nothing, changes nothing.
    """
    checks = []
    with interruptible():
        for check in doctor_checks():
            checks.append(check)
            if not as_json:
                put(_line(check))
    well = all(check.ok for check in checks)
    if as_json:
        put_json({"ok": well, "checks": [asdict(check) for check in checks]})
    raise typer.Exit(OK if well else NOT_ALL)


def _line(check: Check) -> str:
    verdict = "ok  " if check.ok else "FAIL"
    cure = f" -> {check.cure}" if check.cure and not check.ok else ""
    return f"{verdict}  {check.name:<16}  {shown(check.detail)}{shown(cure)}"


def doctor_checks() -> Iterator[Check]:
    """Every check, as it is made; without a configuration the others make no sense."""
    from worker.settings import Settings

    try:
        settings = Settings.load()
    except ConfigurationError as error:
        yield from _faults("configuration", error)
        return
    yield Check("configuration", ok=True, detail=f"profiles: {', '.join(settings.profile_names())}")
    database = database_check(settings)
    yield database
    if database.ok:
        yield clock_check(settings)
    yield broker_check(settings)
    for name in settings.profile_names():
        yield from service_checks(settings, name)
    for root in settings.roots:
        yield root_check(root)


def _faults(name: str, error: ConfigurationError) -> Iterator[Check]:
    for fault in error.faults:
        yield Check(name, ok=False, detail=fault, cure="set the variable, or add it to .env")


def database_check(settings: "Settings") -> Check:
    """Whether the database answers and has the tables of this version."""
    from worker.adapters.database import HEAD, current

    try:
        revision, head = current(settings.database_url), HEAD
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


def broker_check(settings: "Settings") -> Check:
    """Whether the broker answers."""
    if settings.is_embedded:
        detail = "memory://: embedded mode only, `submit` and workers need a broker"
        return Check("broker", ok=True, detail=detail)
    from worker.app import configure

    try:
        app = configure(settings)
        with app.connection_for_write(connect_timeout=BROKER_TIMEOUT) as connection:
            where = connection.as_uri()  # without its password
            connection.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT)
    except Exception as error:  # noqa: BLE001 -- every transport has exceptions of its own
        words = f"{type(error).__name__}: {error}"
        return Check("broker", ok=False, detail=words, cure="see INGEST_BROKER_URL")
    return Check("broker", ok=True, detail=f"{where} answers")


def service_checks(settings: "Settings", name: str) -> Iterator[Check]:
    """Whether a profile is complete and its service leads to an upload node."""
    from worker.connections import plan_dialog

    label = f"service {name}"
    try:
        session = plan_dialog(settings, name)
    except ConfigurationError as error:
        yield from _faults(label, error)
    except IngestError as error:
        yield Check(label, ok=False, detail=error.message, cure=_service_cure(error))
    else:
        yield Check(label, ok=True, detail=_offer(session))


def _offer(session: "DialogSession") -> str:
    offers = (f"{c.name} ({', '.join(c.formats)})" for c in session.node.categories)
    return f"upload node reached; takes {'; '.join(offers) or 'nothing'}"


def _service_cure(error: IngestError) -> str:
    match error:
        case CredentialsRefused():
            return "see CHATFLOW_ROBOT_KEY, CHATFLOW_ROBOT_TOKEN, CHATFLOW_USERNAME"
        case NoUploadNode():
            return "see CHATFLOW_QUESTION or CHATFLOW_FLOW_UUID, and the flow itself"
        case TryLater():
            return "see CHATFLOW_BASE_URL, proxies and firewalls, or wait"
        case _:
            return "see the message"


def root_check(root: str) -> Check:
    """Whether a root is there and can be listed; of an address only that it is one."""
    if "://" in root:
        return Check("root", ok=True, detail=f"{root} (an address, not looked at)")
    try:
        next(Path(root).iterdir(), None)
    except OSError as error:
        detail = f"{root}: {error.strerror}"
        return Check("root", ok=False, detail=detail, cure="see INGEST_ROOTS")
    return Check("root", ok=True, detail=root)
