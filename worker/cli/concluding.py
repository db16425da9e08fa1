"""How a run went: one line, and what went wrong by its reason."""

import sys
from typing import TYPE_CHECKING

from worker.cli.exit_codes import NOT_ALL, OK
from worker.cli.fitting import folded, near
from worker.cli.program import command
from worker.cli.progress import counts_text
from worker.cli.terminal import put, put_json, say, shortened, shown
from worker.core.addresses import bare
from worker.core.lifecycle import BatchState, FileState
from worker.core.model.batches import BatchStatus
from worker.core.model.ids import BatchId
from worker.core.report import detailed_object
from worker.core.words import counted

if TYPE_CHECKING:
    from worker.ports.store import Store

LISTED = 8
EXAMPLES = 3
"""How many reasons are named at the end, and how many files with each of them."""

RETRIED = frozenset({FileState.FAILED, FileState.TIMED_OUT, FileState.REJECTED})
"""The states that `retry` takes up unless it is told otherwise."""


def how_to_resume(batch: BatchId) -> str:
    """The line that an interrupted run ends with."""
    return f"go on with: {command('run', '--resume', batch)}"


def conclude(status: BatchStatus, store: "Store", *, as_json: bool) -> int:
    """Say how a batch went; 0 when every file succeeded, else 1."""
    if as_json:
        put_json(detailed_object(status, store.details(status.batch_id)))
    else:
        line = f"{status.batch_id} {status.state}: {counts_text(status) or 'no files'}"
        put(folded(line, "  ", sys.stdout))
        _say_what_went_wrong(status, store)
    if status.state is BatchState.RUNNING:
        say(f"not finished; {how_to_resume(status.batch_id)}")
        return NOT_ALL
    return OK if status.counts.get(FileState.SUCCEEDED, 0) == status.total else NOT_ALL


def _example(source: str, message: str | None) -> str:
    """A file and what was said of it, which may well name it already."""
    source, said = shown(bare(source)), shown(shortened(message or "", 200))
    if said.startswith(source):
        return said
    return f"{near(source, sys.stderr)}  {said}".rstrip()


def _say_what_went_wrong(status: BatchStatus, store: "Store") -> None:
    """Group it by reason, with examples and with the command that comes next."""
    reasons = store.reasons(status.batch_id, EXAMPLES)
    for reason in reasons[:LISTED]:
        say(f"  {reason.count} {reason.state}{f': {reason.code}' if reason.code else ''}")
        for source, message in reason.examples:
            say(folded(f"      {_example(source, message)}", " " * 8, sys.stderr))
        if reason.count > len(reason.examples):
            say(f"      and {reason.count - len(reason.examples)} more")
        if reason.code:
            say(f"      all: {command('results', status.batch_id, '--code', reason.code)}")
    if len(reasons) > LISTED:
        say(f"  and {counted(len(reasons) - LISTED, 'more reason')}")
    if reasons and status.state is not BatchState.RUNNING:
        if any(reason.state in RETRIED for reason in reasons):
            say(f"try them again: {command('retry', status.batch_id)}")
        say(f"see every file: {command('results', status.batch_id)}")
