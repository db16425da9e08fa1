"""Opening a batch's unsuccessful files again: for this process, or for the workers."""

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.cli.exit_codes import OK
from worker.cli.interruption import interruptible
from worker.cli.naming import find_batch
from worker.cli.running import Job, Wait, attend_and_conclude
from worker.cli.terminal import put_json, say
from worker.cli.waking import wake
from worker.core.lifecycle import FileState, Lane
from worker.core.model.ids import fleet, run_crew
from worker.core.report import detailed_object
from worker.core.seen import Narrow
from worker.core.words import counted

if TYPE_CHECKING:
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Another:
    """Which files of which batch are tried again."""

    name: str
    states: list[FileState]
    narrow: Narrow


def retry(again: Another, timeout: float | None, *, as_json: bool) -> int:
    """Try the files again, here where there is no broker; returns the exit code."""
    from worker.settings import Settings

    settings = Settings.load()
    if settings.is_embedded:
        return _retry_here(again, settings, timeout, as_json=as_json)
    return _retry_there(again, settings, as_json=as_json)


def _retry_here(
    again: Another,
    settings: "Settings",
    timeout: float | None,
    *,
    as_json: bool,
) -> int:
    from worker.bootstrap import open_existing
    from worker.connections import check_service

    with interruptible() as interruption, closing(open_existing(settings)) as store:
        wait = Wait.of(timeout, interruption)
        batch = find_batch(store, again.name)
        profile = store.status(batch).profile
        check_service(settings, profile)

        def reopen() -> None:
            _say_reopened(store.retry(batch, again.states, run_crew(batch), again.narrow))

        job = Job(batch, profile, reopen=reopen)
        return attend_and_conclude(job, store, settings, wait, as_json=as_json)


def _retry_there(again: Another, settings: "Settings", *, as_json: bool) -> int:
    from worker.bootstrap import open_existing

    with closing(open_existing(settings)) as store:
        batch = find_batch(store, again.name)
        profile = store.status(batch).profile
        _say_reopened(store.retry(batch, again.states, fleet(profile), again.narrow))
        if as_json:
            put_json(detailed_object(store.status(batch), store.details(batch)))
        wake(settings, store, profile, Lane.SUBMIT, Lane.POLL)
    return OK


def _say_reopened(count: int) -> None:
    say(f"{counted(count, 'file')} to be tried again" if count else "nothing to be tried again")
