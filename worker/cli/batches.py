"""The commands that set batches in motion or stop them: run, submit, retry, cancel."""

from contextlib import closing
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.naming import complete_batch, find_batch
from worker.cli.options import (
    AllowEmpty,
    AsJson,
    BatchArgument,
    Category,
    Codes,
    ExternalKey,
    Force,
    Glob,
    Inputs,
    Paths,
    ProfileName,
    Recursive,
    Timeout,
    inputs_object,
    notify_target,
    seconds,
    selection,
)
from worker.cli.terminal import put, put_json
from worker.core.lifecycle import BatchState, FileState
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.cli.orders import Order

Resume = Annotated[
    str | None,
    typer.Option(
        metavar="BATCH",
        help="Go on with what an interrupted run left, instead of a new batch.",
        show_default=False,
        autocompletion=complete_batch,
    ),
]


DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would be uploaded where, as `plan` does.")
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


Notify = Annotated[
    str | None,
    typer.Option(
        metavar="URL|TASK[@QUEUE]",
        help="Tell this address, or send this task, when the batch is finished.",
    ),
]
RetryCategory = Annotated[
    str | None, typer.Option("--category", metavar="NAME", help="Only files of this category.")
]
OlderThan = Annotated[
    str | None,
    typer.Option(metavar="AGE", help="Only files that ended so long ago: days, or 90s, 15m, 2h."),
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
    dry_run: DryRun = False,
    allow_empty: AllowEmpty = False,
    force: Force = False,
) -> None:
    """Ingest files in this process and wait until each has its result. Needs no server.

    Exit code: 0 every file succeeded, 1 some did not (or --timeout was over), 2 usage or
    configuration, 130 after Ctrl-C, 143 after SIGTERM. An interrupted run goes on with
    [bold]run --resume BATCH[/], which uploads nothing again that is known to be uploaded.

    [bold]Examples[/]

    chatflow-ingest run call.wav contract.pdf

    chatflow-ingest run /data/calls -r --glob "*.wav" --category "Audio test" --dry-run

    find /data -mtime -1 -type f | chatflow-ingest run - --external-key nightly --json
    """
    from worker.cli.orders import Order

    if resume is not None:
        alone = not any((paths, recursive, glob, category, external_key, inputs, dry_run, force))
        raise typer.Exit(_go_on(resume, timeout, alone=alone, as_json=as_json))
    chosen = selection(paths, glob, recursive=recursive)
    order = Order(chosen, profile, category, external_key, inputs_object(inputs), force=force)
    work = _foretell if dry_run else partial(_run_here, timeout=timeout)
    raise typer.Exit(work(order, as_json=as_json, allow_empty=allow_empty))


def _go_on(batch: str, timeout: float | None, *, alone: bool, as_json: bool) -> int:
    from worker.cli.running import resume

    if not alone:
        raise UsageError("--resume takes no files and no options about them")
    return resume(batch, timeout, as_json=as_json)


def _foretell(order: "Order", *, as_json: bool, allow_empty: bool) -> int:
    from worker.cli.planning import foretell

    return foretell(
        order.selection, order.category, order.profile, as_json=as_json, allow_empty=allow_empty
    )


def _run_here(order: "Order", *, timeout: float | None, as_json: bool, allow_empty: bool) -> int:
    from worker.cli.orders import nothing_allowed
    from worker.cli.running import run as run_here

    with nothing_allowed(order, as_json=as_json, allowed=allow_empty):
        return run_here(order, timeout, as_json=as_json)


def submit(  # noqa: PLR0913 -- each is an option
    paths: Paths = None,
    *,
    recursive: Recursive = False,
    glob: Glob = None,
    category: Category = None,
    profile: ProfileName = "default",
    external_key: ExternalKey = None,
    inputs: Inputs = None,
    notify: Notify = None,
    as_json: AsJson = False,
    allow_empty: AllowEmpty = False,
    force: Force = False,
) -> None:
    """Hand files to the workers and print the batch id at once.

    The batch stands in the database before its id is printed: nothing that happens to the
    broker loses it.

    [bold]Examples[/]

    chatflow-ingest submit /data/calls --recursive --external-key nightly-2026-11-22

    batch=$(chatflow-ingest submit *.pdf) && chatflow-ingest status "$batch" --watch
    """
    from worker.cli.orders import Order
    from worker.cli.submitting import submit as hand_over

    chosen, to_tell = selection(paths, glob, recursive=recursive), notify_target(notify)
    order = Order(
        chosen, profile, category, external_key, inputs_object(inputs), to_tell, force=force
    )
    hand_over(order, as_json=as_json, allow_empty=allow_empty)


def retry(
    batch: BatchArgument,
    *,
    only: Only = None,
    code: Codes = None,
    category: RetryCategory = None,
    older_than: OlderThan = None,
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

    chatflow-ingest retry latest --code parse_failed --older-than 2h
    """
    from worker.cli.retrying import Another
    from worker.cli.retrying import retry as try_again
    from worker.core.seen import Narrow

    states = [FileState(state) for state in only or BY_DEFAULT]
    narrow = Narrow(frozenset(code or ()), category, seconds(older_than) if older_than else 0.0)
    raise typer.Exit(try_again(Another(batch, states, narrow), timeout, as_json=as_json))


def cancel(batch: BatchArgument, *, as_json: AsJson = False) -> None:
    """End every open file of a batch as cancelled.

    What the service already has it goes on with; its results are not fetched any more.
    """
    from worker.bootstrap import open_existing
    from worker.settings import Settings

    with closing(open_existing(Settings.load())) as store:
        wanted = find_batch(store, batch)
        before = store.status(wanted)
        count = store.cancel(wanted)
        if as_json:
            from worker.core.report import detailed_object

            ended = detailed_object(store.status(wanted), store.details(wanted))
            put_json(ended | {"cancelled": count})
        elif before.state is BatchState.RUNNING:
            put(f"{wanted} cancelled, open files: {count}")
        else:
            put(f"{wanted} is {before.state} already: nothing to cancel")
