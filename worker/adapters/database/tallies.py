"""Sums over what was done, for metrics: they are right also when who did it is gone."""

from __future__ import annotations

from collections import Counter
from functools import reduce

from sqlalchemy import ColumnElement, func, literal_column, select

from worker.adapters.database.engine.transaction import Transaction
from worker.adapters.database.tables import (
    batches,
    files,
    schedule_leader,
    schedule_runs,
    uploads,
)
from worker.adapters.database.tables import (
    ready_times as ready_table,
)
from worker.core.model.files import UploadState
from worker.core.model.ids import is_run
from worker.core.ready_times import Sketch

DAY = 86_400.0
LATE = 300.0
"""Seconds after its time from which on a firing counts as late."""

_QUANTILES = ("0.5", "0.95")
_UNKNOWN: ColumnElement[str] = literal_column(f"'{UploadState.UNKNOWN.value}'")


def ready_times(tx: Transaction) -> dict[tuple[str, str, str], float]:
    """Seconds from acceptance to result by profile, category and quantile, as remembered."""
    kinds: dict[tuple[str, str], list[Sketch]] = {}
    for row in tx.run(select(ready_table.c.profile, ready_table.c.category, ready_table.c.sketch)):
        kinds.setdefault((row.profile, row.category), []).append(Sketch.from_json(row.sketch))
    merged = {kind: reduce(Sketch.merge, sketches) for kind, sketches in kinds.items()}
    return {
        (*kind, part): sketch.quantile(float(part))
        for kind, sketch in merged.items()
        if sketch.total
        for part in _QUANTILES
    }


def unknown_uploads(tx: Transaction) -> dict[str, int]:
    """Uploads with a lost reply in the batches of a day, by profile; 0 for who has none."""
    since = tx.after(-DAY)
    lately = batches.c.created_at > since
    known = tx.run(select(batches.c.profile).where(lately).distinct()).scalars()
    counted = (
        select(batches.c.profile, func.count().label("number"))
        .select_from(batches.join(files, files.c.batch_id == batches.c.id).join(uploads))
        # No upload is older than its batch. The state stands in the text, so that the planner can
        # match the partial index.
        .where(lately, uploads.c.created_at > since, uploads.c.state == _UNKNOWN)
        .group_by(batches.c.profile)
    )
    return dict.fromkeys(known, 0) | {row.profile: row.number for row in tx.run(counted)}


def retrying(tx: Transaction) -> dict[tuple[str, str], int]:
    """The fleet's open files that had an error, by profile and its code."""
    counted = (
        select(files.c.crew, files.c.error_code, func.count().label("number"))
        .where(files.c.lane.is_not(None), files.c.error_code.is_not(None))
        .group_by(files.c.crew, files.c.error_code)
        .with_hint(files, "FORCE INDEX (ix_files_retrying)", "mysql")
        .with_hint(files, "FORCE INDEX (ix_files_retrying)", "mariadb")
    )
    return {
        (row.crew, row.error_code): row.number for row in tx.run(counted) if not is_run(row.crew)
    }


def firings(tx: Transaction) -> dict[tuple[str, str], int]:
    """How often each schedule fired, in time and late."""
    found: Counter[tuple[str, str]] = Counter()
    for row in tx.run(select(schedule_runs)):
        late = (row.fired_at - row.due).total_seconds() >= LATE
        found[row.schedule, "on_time"] += not late
        found[row.schedule, "late"] += late
    return dict(found)


def ticked_ago(tx: Transaction) -> float | None:
    """Seconds since a Beat's tick was worked last, None before the first."""
    # A tick that is over has ended its lead, one that is being worked holds it for longer.
    until = tx.run(select(schedule_leader.c.until)).scalar_one_or_none()
    return None if until is None else tx.since(until)
