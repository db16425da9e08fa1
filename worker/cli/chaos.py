"""``demo --chaos``: a run is killed again and again, and nothing is lost: the promise, seen.

Only processes that this one has started are killed, by their own handle.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

from worker.cli.audit import examined, put_findings
from worker.cli.exit_codes import NOT_ALL, OK
from worker.cli.program import command
from worker.cli.progress import counts_text, done
from worker.cli.stage import as_expected, own_settings
from worker.cli.terminal import put, say
from worker.core.model.batches import BatchStatus
from worker.core.model.ids import BatchId
from worker.core.words import counted

COPIES = 12
KILLS = 12

EARLIEST, LATEST = 0.2, 2.5
"""How many seconds after it has taken the batch up a run is killed."""

_PACE = {"time_to_ready": {"kind": "lognormal", "median": 4.0, "p95": 9.0}}
"""Slower than the plain demo, so that every death finds files in all states."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where it happens: a folder of files, and the environment of those that will die."""

    samples: Path
    environment: Mapping[str, str]


def chaos(folder: Path, *, copies: int = COPIES, kills: int = KILLS) -> int:
    """Ingest many samples by runs that are killed; the exit code says whether all balances.

    Args:
        folder: where everything is left.
        copies: how many times each sample is handed in.
        kills: how often a run is killed at most.
    """
    from worker.simulator import DEMO_SCENARIO, running, write_samples

    for number in range(copies):
        write_samples(folder / "samples" / f"{number:02}")
    scenario = tomllib.loads(DEMO_SCENARIO.read_text(encoding="utf-8")) | _PACE
    with running(scenario) as service:
        scene = Scene(folder / "samples", plain_environment(own_settings(folder, service.url)))
        deaths = _kill_again_and_again(scene, kills)
        say("now one that may live")
        with _started(scene) as process:
            process.communicate()
        taken = service.summary()["uploads_taken"]
    return _conclude(scene, deaths, taken)


def _kill_again_and_again(scene: Scene, kills: int) -> int:
    for deaths in range(kills):
        with _started(scene) as process:
            assert process.stderr is not None
            named = any(line.startswith("batch ") for line in process.stderr)
            seconds = random.uniform(EARLIEST, LATEST)  # noqa: S311 -- no secret
            killer = Timer(seconds, process.kill)
            killer.start()
            process.communicate()
            killer.cancel()
        if not named or process.returncode in {OK, NOT_ALL}:
            return deaths  # it was done before its time came
        standing = _standing(scene)
        say(f"killed {deaths + 1:>2}: after {seconds:.1f} s; {counts_text(standing)}")
        if done(standing) == standing.total:
            return deaths + 1
    return kills


def _started(scene: Scene) -> subprocess.Popen[str]:
    """A run of the same files under the same key: it goes on with what the last one left."""
    words = ("run", str(scene.samples), "--recursive", "--external-key", "chaos")
    return subprocess.Popen(  # noqa: S603 -- this program itself
        [sys.executable, "-m", "worker.cli", *words],
        cwd=scene.samples.parent,
        env=dict(scene.environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _batch() -> BatchId:
    from worker.core.naming import batch_id_for

    return BatchId(batch_id_for("default", "chaos"))


def _standing(scene: Scene) -> BatchStatus:
    from worker.adapters.database import open_store

    with closing(open_store(scene.environment["INGEST_DATABASE_URL"])) as store:
        return store.status(_batch())


def _conclude(scene: Scene, deaths: int, taken: int) -> int:
    from worker.adapters.database import open_store

    database = scene.environment["INGEST_DATABASE_URL"]
    with closing(open_store(database)) as store:
        found = examined(store.audited())
        well = as_expected(store.results(_batch()))
    put(f"{counted(deaths, 'death')}; the service took {counted(taken, 'upload')}")
    put_findings(found)
    put(f"every file ended as it must: {'yes' if well else 'NO'}")
    put("look around with:")
    put(f"  export INGEST_DATABASE_URL={database}")
    put(f"  {command('status', 'latest')}")
    return OK if well and found.balanced else NOT_ALL


def plain_environment(own: Mapping[str, Any]) -> dict[str, str]:
    """The environment of a child: this one's, without any configuration but its own."""
    foreign = ("CHATFLOW_", "INGEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in own.items()
        if value is not None
    }
