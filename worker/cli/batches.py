"""The commands that set batches in motion or stop them: run, submit, retry, cancel."""

from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.faults import OK
from worker.cli.interruption import interruptible
from worker.cli.options import (
    AsJson,
    BatchArgument,
    Category,
    ExternalKey,
    Glob,
    Inputs,
    Paths,
    ProfileName,
    Recursive,
    Timeout,
    batch_id,
    inputs_object,
    selection,
)
from worker.cli.running import (
    Job,
    Order,
    Wait,
    attend_and_conclude,
    hand_in,
    how_to_resume,
)
from worker.cli.terminal import put, put_json, say
from worker.cli.waking import wake
from worker.core.lifecycle import BatchState, FileState, Lane
from worker.core.model import fleet, run_crew
from worker.core.report import status_object
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.core.model import BatchId
    from worker.settings import Settings

Resume = Annotated[
    str | None,
    typer.Option(
        metavar="BATCH",
        help="Go on with what an interrupted run left, instead of a new batch.",
        show_default=False,
    ),
]


class Again(StrEnum):
    """The states that a file may be retried from."""

    FAILED = "failed"
    TIMED_OUT = "timed_out"
    REJECTED = "rejected"
    PARTIAL = "partial"
    CANCELLED = "cancelled"


BY_DEFAULT = (Again.FAILED, Again.TIMED_OUT, Again.REJECTED)

Only = Annotated[
    list[Again] | None,
    typer.Option(
        help="Only files in this state; may be given more than once.",
        show_default="failed, timed_out and rejected",
    ),
]


def run(  # noqa: PLR0913 -- each is an option
    paths: Paths = None,
    *,
    recursive: Recursive = False,
    glob: Glob = None,
    category: Category = None,
    profile: ProfileName = "default",
    external_key: ExternalKey = None,
    inputs: Inputs = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
    resume: Resume = None,
) -> None:
    """Ingest files in this process and wait until each has its result. Needs no server.

    Exit code: 0 every file succeeded, 1 some did not (or --timeout was over), 2 usage or
    configuration, 130 after Ctrl-C, 143 after SIGTERM. An interrupted run goes on with
    [bold]run --resume BATCH[/], which uploads nothing again that is known to be uploaded.

    [bold]Examples[/]

    chatflow-ingest run call.wav contract.pdf

    chatflow-ingest run /data/calls --recursive --glob "*.wav" --category "Audio test"

    find /data -mtime -1 -type f | chatflow-ingest run - --external-key nightly --json
    """
    if resume is not None:
        if any((paths, recursive, glob, category, external_key, inputs)):
            raise UsageError("--resume takes no files and no options about them")
        raise typer.Exit(_resume(batch_id(resume), timeout, as_json=as_json))
    order = Order(
        selection(paths, glob, recursive=recursive),
        profile,
        category,
        external_key,
        inputs_object(inputs),
    )
    raise typer.Exit(_run(order, timeout, as_json=as_json))


def _run(order: Order, timeout: float | None, *, as_json: bool) -> int:
    from worker.bootstrap import open_store
    from worker.connections import check_service
    from worker.settings import Settings

    with interruptible() as interruption:
        wait = Wait.of(timeout, interruption)
        settings = Settings.load()
        check_service(settings, order.profile)
        batch = order.new_batch()
        with closing(open_store(settings)) as store:
            job = Job(
                batch,
                order.profile,
                hand_in=lambda look: hand_in(
                    order, batch, store, settings, embedded=True, look=look
                ),
            )
            return attend_and_conclude(job, store, settings, wait, as_json=as_json)


def _resume(batch: "BatchId", timeout: float | None, *, as_json: bool) -> int:
    from worker.bootstrap import open_store
    from worker.connections import check_service
    from worker.settings import Settings

    with interruptible() as interruption:
        wait = Wait.of(timeout, interruption)
        settings = Settings.load()
        with closing(open_store(settings)) as store:
            status = store.status(batch)
            if status.state is not BatchState.RUNNING:
                say(f"nothing left to do: the batch is {status.state}")
                if as_json:
                    put_json(status_object(status))
                return OK
            check_service(settings, status.profile)

            def seal() -> None:
                say(f"batch {batch}")
                if not status.sealed:
                    say("its files were not all handed in: going on with those that were")
                    store.seal(batch)

            job = Job(batch, status.profile, reopen=seal)
            return attend_and_conclude(job, store, settings, wait, as_json=as_json)


def submit(
    paths: Paths = None,
    *,
    recursive: Recursive = False,
    glob: Glob = None,
    category: Category = None,
    profile: ProfileName = "default",
    external_key: ExternalKey = None,
    inputs: Inputs = None,
    as_json: AsJson = False,
) -> None:
    """Hand files to the workers and print the batch id at once.

    The batch stands in the database before its id is printed: nothing that happens to the
    broker loses it.

    [bold]Examples[/]

    chatflow-ingest submit /data/calls --recursive --external-key nightly-2026-11-22

    batch=$(chatflow-ingest submit *.pdf) && chatflow-ingest status "$batch" --watch
    """
    from worker.bootstrap import open_store
    from worker.settings import Settings

    order = Order(
        selection(paths, glob, recursive=recursive),
        profile,
        category,
        external_key,
        inputs_object(inputs),
    )
    with interruptible():
        settings = Settings.load()
        settings.profile(profile, complete=False)  # only the workers need credentials
        batch = order.new_batch()
        with closing(open_store(settings)) as store:
            hand_in(order, batch, store, settings, embedded=settings.is_embedded)
            if as_json:
                put_json(status_object(store.status(batch)))
            else:
                put(str(batch))
        if settings.is_embedded:
            say(f"no broker is configured, so no worker hears of it; {how_to_resume(batch)}")
        else:
            wake(settings, profile, Lane.SUBMIT)


def retry(
    batch: BatchArgument,
    *,
    only: Only = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Try a batch's unsuccessful files again.

    With a broker the files go back to the workers and the command ends. Without one
    (memory://) it works at once and waits, with the exit codes of [bold]run[/].
    A file that the service may still be working on is asked about, not uploaded again.

    [bold]Examples[/]

    chatflow-ingest retry BATCH

    chatflow-ingest retry BATCH --only timed_out
    """
    from worker.settings import Settings

    states = [FileState(state) for state in only or BY_DEFAULT]
    settings = Settings.load()
    if settings.is_embedded:
        code = _retry_here(batch_id(batch), states, settings, timeout, as_json=as_json)
    else:
        code = _retry_there(batch_id(batch), states, settings, as_json=as_json)
    raise typer.Exit(code)


def _retry_here(
    batch: "BatchId",
    states: list[FileState],
    settings: "Settings",
    timeout: float | None,
    *,
    as_json: bool,
) -> int:
    from worker.bootstrap import open_store
    from worker.connections import check_service

    with interruptible() as interruption, closing(open_store(settings)) as store:
        wait = Wait.of(timeout, interruption)
        profile = store.status(batch).profile
        check_service(settings, profile)

        def reopen() -> None:
            _say_reopened(store.retry(batch, states, run_crew(batch)))

        job = Job(batch, profile, reopen=reopen)
        return attend_and_conclude(job, store, settings, wait, as_json=as_json)


def _retry_there(
    batch: "BatchId", states: list[FileState], settings: "Settings", *, as_json: bool
) -> int:
    from worker.bootstrap import open_store

    with closing(open_store(settings)) as store:
        profile = store.status(batch).profile
        _say_reopened(store.retry(batch, states, fleet(profile)))
        if as_json:
            put_json(status_object(store.status(batch)))
    wake(settings, profile, Lane.SUBMIT, Lane.POLL)
    return OK


def _say_reopened(count: int) -> None:
    say(f"{count} to be tried again" if count else "nothing to be tried again")


def cancel(batch: BatchArgument) -> None:
    """End every open file of a batch as cancelled.

    What the service already has it goes on with; its results are not fetched any more.
    """
    from worker.bootstrap import open_store
    from worker.settings import Settings

    wanted = batch_id(batch)
    with closing(open_store(Settings.load())) as store:
        before = store.status(wanted)
        count = store.cancel(wanted)
        if before.state is BatchState.RUNNING:
            put(f"{wanted} cancelled, open files: {count}")
        else:
            put(f"{wanted} is {before.state} already: nothing to cancel")
