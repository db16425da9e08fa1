"""How long files took to become ready: one fading sketch for each kind of file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, and_, select, update

from worker.adapters.database.engine.transaction import Repository, Transaction, reads, writes
from worker.adapters.database.engine.types import clean
from worker.adapters.database.rows import inserted
from worker.adapters.database.tables import FORMAT_LIMIT, NAME_LIMIT, ready_times
from worker.core.model.fleet import FileKind, Observation
from worker.core.ready_times import Sketch


class ReadyTimeStore(Repository):
    """The learned poll schedule's memory."""

    @writes
    def learn(self, tx: Transaction, profile: str, seen: Sequence[Observation]) -> None:
        """Add observations to the sketches of their kinds."""
        # In one order for everybody, so that two who learn the same kinds can't deadlock.
        for kind, some in groupby(sorted(seen, key=_order), key=lambda one: one.kind):
            _add(tx, profile, kind, list(some))

    @reads
    def sketches(self, tx: Transaction, profile: str) -> dict[FileKind, Sketch]:
        """What is remembered for each kind of file."""
        return sketches_of(tx, profile)


def sketches_of(tx: Transaction, profile: str) -> dict[FileKind, Sketch]:
    """What is remembered for each kind of file, in the caller's transaction."""
    known = tx.run(select(ready_times).where(ready_times.c.profile == profile))
    return {
        FileKind(row.category, row.format, row.size_class): Sketch.from_json(row.sketch)
        for row in known
    }


def _order(one: Observation) -> tuple[str, str, int]:
    return one.kind.category, one.kind.format, one.kind.size_class


def _key(profile: str, kind: FileKind) -> dict[str, Any]:
    return {
        "profile": profile,
        "category": clean(kind.category, NAME_LIMIT),
        "format": clean(kind.format, FORMAT_LIMIT),
        "size_class": kind.size_class,
    }


def _add(tx: Transaction, profile: str, kind: FileKind, seen: Sequence[Observation]) -> None:
    key = _key(profile, kind)
    inserted(tx, ready_times, {**key, "sketch": Sketch().to_json(), "updated_at": tx.now})
    this: ColumnElement[bool] = and_(*(ready_times.c[name] == key[name] for name in key))
    known = tx.run(select(ready_times.c.sketch).where(this).with_for_update()).scalar_one()
    sketch = Sketch.from_json(known)
    for one in seen:
        sketch = sketch.add(one.seconds, one.since)
    tx.run(update(ready_times).where(this).values(sketch=sketch.to_json(), updated_at=tx.now))
