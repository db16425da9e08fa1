"""``audit``: does the account balance; whatever does not is named."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from worker.cli.exit_codes import NOT_ALL, OK
from worker.cli.interruption import interruptible
from worker.cli.naming import find_batch
from worker.cli.options import AsJson, OptionalBatch
from worker.cli.program import command
from worker.cli.terminal import put, put_json, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.core.audit import AuditedBatch, AuditedFile

UPLOADS_TOLD = {
    "intent": "planned and not sent",
    "sent": "sent and not answered",
    "accepted": "accepted",
    "refused": "refused",
    "unknown": "with a lost reply",
    "withdrawn": "called off",
}
"""What each state of the ledger means, after a number of uploads."""

NAMED = 1000
"""Findings of one kind that are named; the rest is counted."""


@dataclass
class Findings:
    """What an audit saw: `faults` is what does not balance, the rest is for the record."""

    batches: int = 0
    files: Counter[str] = field(default_factory=Counter)
    uploads: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[dict[str, Any]] = field(default_factory=list)
    repeated: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def balanced(self) -> bool:
        """Whether nothing is amiss."""
        return not self.counts["faults"]

    def as_object(self) -> dict[str, Any]:
        """The findings as JSON values."""
        return {
            "balanced": self.balanced,
            "batches": self.batches,
            "files": sum(self.files.values()),
            "states": dict(self.files),
            "uploads": dict(self.uploads),
            "fault_count": self.counts["faults"],
            "unknown_count": self.counts["unknown"],
            "repeated_count": self.counts["repeated"],
            "faults": self.faults,
            "unknown": self.unknown,
            "repeated": self.repeated,
        }

    def note(self, kind: str, amount: int, entry: dict[str, Any]) -> None:
        """Count something, and name it while there is room."""
        self.counts[kind] += amount
        named: list[dict[str, Any]] = getattr(self, kind)
        if len(named) < NAMED:
            named.append(entry)


def audit(batch: OptionalBatch = None, *, as_json: AsJson = False) -> None:
    """Balance the account: every file against its story and its uploads, of a batch or of all.

    Reads only, also while workers work. Uploads that ended unknown or were made twice are listed
    apart: they are accounted for. Exit code 1 when anything does not balance.
    """
    from worker.bootstrap import open_existing
    from worker.settings import Settings

    with interruptible(), closing(open_existing(Settings.load())) as store:
        wanted = None if batch is None else find_batch(store, batch)
        found = examined(store.audited(wanted))
    if as_json:
        put_json(found.as_object())
    else:
        put_findings(found)
    raise typer.Exit(OK if found.balanced else NOT_ALL)


def examined(account: Iterable[AuditedBatch | AuditedFile]) -> Findings:
    """What the account shows, in memory that does not grow with it."""
    from worker.core.audit import AuditedBatch, batch_faults, file_faults

    found = Findings()
    for each in account:
        where: dict[str, Any] = {"batch_id": str(each.batch_id)}
        if isinstance(each, AuditedBatch):
            found.batches += 1
            for fault in batch_faults(each):
                found.note("faults", 1, where | {"file_id": None, "source": None, "fault": fault})
            continue
        where |= {"file_id": str(each.file_id), "source": each.source}
        found.files[each.state] += 1
        found.uploads.update(upload.state for upload in each.uploads)
        for fault in file_faults(each):
            found.note("faults", 1, where | {"fault": fault})
        for kind in ("unknown", "repeated"):
            if amount := getattr(each, kind):
                found.note(kind, amount, where | {"uploads": amount})
    return found


def put_findings(found: Findings) -> None:
    """The findings for a human."""
    states = ", ".join(f"{state} {number}" for state, number in sorted(found.files.items()))
    uploads = ", ".join(
        f"{number} {UPLOADS_TOLD[state]}" for state, number in sorted(found.uploads.items())
    )
    put(f"batches: {found.batches}")
    put(f"files: {sum(found.files.values())}{f' ({states})' if states else ''}")
    put(f"uploads: {sum(found.uploads.values())}{f' ({uploads})' if uploads else ''}")
    for kind, words in (("unknown", "with a lost reply"), ("repeated", "made again")):
        _put_entries(f"uploads {words}", found.counts[kind], getattr(found, kind))
    if found.balanced:
        put("balanced")
        return
    _put_entries("NOT balanced, faults", found.counts["faults"], found.faults, 100)
    put(f"look at a file with: {command('show', 'FILE_ID')}")


def _put_entries(
    title: str, count: int, entries: list[dict[str, Any]], shown_at_most: int = 10
) -> None:
    if not count:
        return
    put(f"{title}: {count}")
    for entry in entries[:shown_at_most]:
        file = f"{entry['file_id']}  {shown(entry['source'])}" if entry["file_id"] else "the batch"
        what = entry.get("fault") or f"{entry['uploads']}"
        put(f"  {entry['batch_id']}  {file}  {shown(what)}")
    if len(entries) > shown_at_most:
        put(f"  and more: {command('audit', '--json')}")
