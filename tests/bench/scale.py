"""How the store bears a million files in flight: `python -m tests.bench.scale`.

Fills PostgreSQL, measures claims, records, counting, streaming and handing in, keeps the plans of
the claims in tests/bench/claim-plans.txt and the figures in tests/bench/scale.json.
BENCH_SCALE (1000000) and BENCH_HAND_IN (100000) say how many files.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, create_engine, event, text

from tests.bench import scenery
from tests.bench.scenery import PYTHON, ROOT
from worker.adapters.database import SqlStore, open_store
from worker.adapters.database.engine.migrate import upgrade
from worker.core.lifecycle import FileState, Lane
from worker.core.model.batches import NewBatch
from worker.core.model.files import Claim
from worker.core.model.ids import BatchId, Crew, fleet
from worker.core.model.wire import Contents
from worker.core.verdicts import Ended, StillPolling, Verdict

HERE = Path(__file__).parent
ROWS = int(os.environ.get("BENCH_SCALE", "1000000"))
HAND_IN = int(os.environ.get("BENCH_HAND_IN", "100000"))
SIZES = [size for size in (10_000, 100_000, 1_000_000) if size < ROWS] + [ROWS]
CLAIM = 500
TIMES = 15
CREW = fleet("default")
CONTENT = '[{"text": "' + "lorem ipsum dolor sit amet " * 40 + '", "speaker_id": 0}]'

FILL = """
INSERT INTO files (id, batch_id, turn, crew, source, name, state, lane, next_at, category,
    chatflow_file_id, size, sha256, polls, created_at, submitted_at, deadline_at, deadline_seconds)
SELECT gen_random_uuid(), :batch, n, :crew, '/data/calls/recording-' || n || '.wav',
    'recording-' || n || '.wav',
    CASE WHEN n % 10 = 0 THEN 'queued' ELSE 'polling' END,
    CASE WHEN n % 10 = 0 THEN 'submit' ELSE 'poll' END,
    now() - interval '1 hour' + random() * interval '30 minutes',
    'Audio', n::text, 20000, repeat('0', 64), 1, now() - interval '1 hour',
    CASE WHEN n % 10 = 0 THEN NULL ELSE now() - interval '1 hour' END,
    now() + interval '10 hours', 3600
FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n
"""
TURNS = "UPDATE batches SET next_turn = :last + 1, sealed_at = now() WHERE id = :batch"
FINISHED = """
INSERT INTO results (file_id, parse_content, parse_segments, sanitized, content_size, recorded_at)
SELECT id, :content, :content, false, 2 * length(:content), now() FROM files WHERE batch_id = :batch
"""


@dataclass
class Timing:
    """Milliseconds of one kind of call, and CPU milliseconds of this process."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @contextmanager
    def one(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall.append((time.perf_counter() - wall) * 1000)
        self.cpu.append((time.process_time() - cpu) * 1000)

    def plain(self) -> dict[str, float]:
        return {
            "median_ms": round(median(self.wall), 2),
            "worst_ms": round(max(self.wall), 2),
            "cpu_ms": round(median(self.cpu), 2),
        }


# --- claims and records --------------------------------------------------------------------------


def measured_queue(store: SqlStore) -> dict[str, Any]:
    """Claim and record, again and again, with as many rows in flight as there are now."""
    names = ("claim_poll", "record_not_yet", "record_done", "claim_submit", "hand_back")
    timings = {name: Timing() for name in names}
    for turn in range(TIMES):
        with timings["claim_poll"].one():
            claim = _claim(store, Lane.POLL)
        verdict = _done if turn % 2 else _not_yet
        with timings["record_done" if turn % 2 else "record_not_yet"].one():
            written = store.record([verdict(file.id, file.token) for file in claim.files])
        assert len(written) == CLAIM
    for _ in range(5):
        with timings["claim_submit"].one():
            claim = _claim(store, Lane.SUBMIT)
        with timings["hand_back"].one():
            store.hand_back([(file.id, file.token) for file in claim.files])
    for name, look in (
        ("sweep_due", lambda: store.due(1.0)),
        ("sweep_unfinished", store.unfinished),
        ("overview", store.overview),
    ):
        timings[name] = Timing()
        for _ in range(5):
            with timings[name].one():
                look()
    return {name: timing.plain() for name, timing in timings.items()}


def _claim(store: SqlStore, lane: Lane) -> Claim[Any]:
    claim = store.claim("default", CREW, lane, CLAIM, 120.0)
    assert len(claim.files) == CLAIM, len(claim.files)
    return claim


def _not_yet(file: Any, token: Any) -> Verdict:
    return StillPolling(file, token, wait=-60.0, status=4)


def _done(file: Any, token: Any) -> Verdict:
    contents = Contents(CONTENT, None, None)
    return Ended(file, token, FileState.SUCCEEDED, status=5, asked=True, contents=contents)


# --- plans ---------------------------------------------------------------------------------------


def plans(store: SqlStore, engine: Engine) -> str:
    """What PostgreSQL does for the statements of a poll claim, a submit claim and a record."""
    shown: list[str] = []
    for lane in (Lane.POLL, Lane.SUBMIT):
        said = _spoken(store, lambda lane=lane: _claim(store, lane))  # type: ignore[misc]
        shown += [_explained(engine, f"claim ({lane})", *each) for each in said]
    claim = _claim(store, Lane.POLL)
    verdicts = [_not_yet(file.id, file.token) for file in claim.files]
    said = _spoken(store, lambda: store.record(verdicts))
    shown += [_explained(engine, "record", *each) for each in said]
    return "\n\n".join(shown) + "\n"


def _spoken(store: SqlStore, work: Callable[[], Any]) -> list[tuple[str, Any]]:
    said: list[tuple[str, Any]] = []

    def listen(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if " files" in statement and not statement.startswith("INSERT"):
            said.append((statement, parameters))

    engine = store._database.engine
    event.listen(engine, "before_cursor_execute", listen)
    work()
    event.remove(engine, "before_cursor_execute", listen)
    return said


def _explained(engine: Engine, title: str, statement: str, parameters: Any) -> str:
    """Executed for the plan's figures, then taken back."""
    with engine.connect() as connection, connection.begin() as doomed:
        lines = connection.exec_driver_sql(
            "EXPLAIN (ANALYZE, BUFFERS, WAL) " + statement, parameters
        ).scalars()
        plan = "\n".join(_shortened(line) for line in lines)
        doomed.rollback()
    words = " ".join(statement.split())
    return f"-- {title}: {words[:160]}{'...' if len(words) > 160 else ''}\n{plan}"


def _shortened(line: str) -> str:
    return line if len(line) <= 240 else line[:240] + "..."


# --- index writes --------------------------------------------------------------------------------


def updates(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        row = connection.execute(
            text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'files'")
        ).one()
        return {"updates": row.n_tup_upd, "hot": row.n_tup_hot_upd}


def hot_updates(url: str, engine: Engine) -> dict[str, float]:
    """Updates of `files` per status call, and how many of them spared the indexes."""
    before = updates(engine)
    store = open_store(url)
    for _ in range(4):
        claim = _claim(store, Lane.POLL)
        store.record([_not_yet(file.id, file.token) for file in claim.files])
    store.close()
    time.sleep(1.5)  # a backend tells its counts when it ends
    after = updates(engine)
    polls = 4 * CLAIM
    return {
        "updates_per_poll": (after["updates"] - before["updates"]) / polls,
        "hot_per_poll": (after["hot"] - before["hot"]) / polls,
    }


# --- commands ------------------------------------------------------------------------------------


def command(url: str, *arguments: str, output: Path | None = None) -> dict[str, Any]:
    """Run a command of ours; seconds, CPU seconds and peak memory."""
    environment = {
        **os.environ,
        "INGEST_DATABASE_URL": url,
        "INGEST_BROKER_URL": scenery.REDIS,
        "INGEST_ROOTS": tempfile.gettempdir(),
        "CHATFLOW_BASE_URL": "http://127.0.0.1:9",
        "CHATFLOW_ROBOT_KEY": "k",
        "CHATFLOW_ROBOT_TOKEN": "t",
        "CHATFLOW_USERNAME": "u",
    }
    began = time.monotonic()
    with (output or Path(os.devnull)).open("wb") as out:
        process = subprocess.Popen(
            [PYTHON, "-m", "worker.cli", *arguments], cwd=ROOT, env=environment, stdout=out
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return {
        "seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
    }


def handing_in(url: str, folder: Path) -> dict[str, Any]:
    inbox = folder / "inbox"
    inbox.mkdir()
    for number in range(HAND_IN):
        (inbox / f"{number:06}.wav").touch()
    return command(url, "submit", str(inbox))


# --- all of it -----------------------------------------------------------------------------------


def filled(engine: Engine, batch: BatchId, first: int, last: int) -> None:
    values = {"batch": batch, "crew": CREW, "first": first, "last": last}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(FILL), values)
        connection.execute(text(TURNS), {"batch": batch, "last": values["last"]})
        connection.execute(text("VACUUM ANALYZE files"))


def new_batch(store: SqlStore, crew: Crew) -> BatchId:
    batch = BatchId(uuid4())
    store.create_batch(NewBatch(batch, "default", crew))
    return batch


def small_batch(store: SqlStore, engine: Engine, files: int) -> BatchId:
    """A batch of finished files with contents, to stream."""
    batch = new_batch(store, Crew("shelf"))
    values = {"batch": batch, "crew": "shelf", "first": 0, "last": files - 1}
    with engine.begin() as connection:
        connection.execute(text(FILL), values)
        connection.execute(text(TURNS), {"batch": batch, "last": values["last"]})
        connection.execute(text(FINISHED), {"batch": batch, "content": CONTENT})
    return batch


def measure(url: str, folder: Path) -> dict[str, Any]:
    upgrade(url)
    store, engine = open_store(url), create_engine(url)
    batch = new_batch(store, CREW)
    queue: dict[str, Any] = {}
    there = 0
    for size in SIZES:
        filled(engine, batch, there, size - 1)
        there = size
        queue[f"{size}"] = measured_queue(store)
        print(f"{size:>9} in flight: {json.dumps(queue[f'{size}'])}", flush=True)
    (HERE / "claim-plans.txt").write_text(plans(store, engine))
    store.close()
    engine.dispose()
    time.sleep(2)  # until the last of these connections has told its counts
    found = {
        "files": ROWS,
        "queue_of_500": queue,
        "index_writes": hot_updates(url, engine),
        "status": _status(store, url, batch),
        "results": {
            f"{files}": command(url, "results", str(small_batch(store, engine, files)))
            for files in (10_000, 100_000)
        },
        "handing_in": {"files": HAND_IN, **handing_in(url, folder)},
    }
    store.close()
    engine.dispose()
    return found


def _status(store: SqlStore, url: str, batch: BatchId) -> dict[str, Any]:
    timing = Timing()
    for _ in range(5):
        with timing.one():
            store.status(batch)
    return {"store": timing.plain(), "command": command(url, "status", str(batch), "--json")}


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="bench-scale-"))
    try:
        with scenery.database(scenery.POSTGRES) as url:
            found = measure(url, folder)
    finally:
        shutil.rmtree(folder)
    (HERE / "scale.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
