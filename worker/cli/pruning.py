"""``prune``: remove what is over and old."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.interruption import interruptible
from worker.cli.options import AsJson, seconds
from worker.cli.terminal import put, put_json, shown
from worker.core.words import counted

if TYPE_CHECKING:
    from worker.core.seen import Prunable


Age = Annotated[
    str, typer.Option(metavar="DAYS", help="How long ago a batch must have ended; also 12h, 90m.")
]
ContentsOnly = Annotated[
    bool, typer.Option("--contents-only", help="Keep the batches; remove only extracted contents.")
]
OnlySay = Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")]


def prune(
    *,
    older_than: Age,
    contents_only: ContentsOnly = False,
    dry_run: OnlySay = False,
    as_json: AsJson = False,
) -> None:
    """Remove finished and cancelled batches that are old enough, or only their contents.

    In small transactions, safe beside workers. A batch that still has somebody to notify, or files
    to be taken away, stays until that is done. Results that are removed can't be had again.

    [bold]Example[/]

    chatflow-ingest prune --older-than 90 --dry-run
    """
    from worker.bootstrap import open_existing
    from worker.settings import Settings

    age = seconds(older_than)
    removed: list[tuple[Prunable, int]] = []
    with interruptible(), closing(open_existing(Settings.load())) as store:
        for batch in store.prunable(age, contents_only=contents_only):
            files = batch.files
            if not dry_run:
                files = store.prune(batch.batch_id, age, contents_only=contents_only)
            removed.append((batch, files))
            if not as_json:
                put(f"{batch.batch_id}  {batch.ended_at:%Y-%m-%d}  {_told(batch, files)}")
    if as_json:
        batches = [{"batch_id": str(b.batch_id), "files": files} for b, files in removed]
        put_json({"dry_run": dry_run, "contents_only": contents_only, "batches": batches})
        return
    what = "the contents of " if contents_only else ""
    batches_told = counted(len(removed), "batch")
    put(f"{what}{batches_told} {'would be removed' if dry_run else 'removed'}")


def _told(batch: Prunable, files: int) -> str:
    key = f"  {shown(batch.external_key)}" if batch.external_key else ""
    return f"{counted(files, 'file')}{key}"
