"""How soon a killed worker's files are in other hands: `python -m tests.bench.recovery [KILLS]`.

Two workers on a PostgreSQL and a Redis of their own, with the usual timings. Again and again one
of them is killed with files in hand (a status call and a slow upload each), and what is measured is
how long, by the database's clock, until the last of its files was claimed by the other.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles

from sqlalchemy import create_engine, text

from tests.crash.conftest import Pair
from tests.crash.servers import postgresql, redis
from tests.distributed.audit import audit
from tests.distributed.fleet import QUICK, Fleet, wait_for
from worker.adapters.database import open_store
from worker.client import submit_batch
from worker.simulator import running

KILLS = 50
FILES = 30
SLOW = QUICK | {
    "time_to_ready": {"kind": "lognormal", "median": 4, "p95": 9},
    "faults": [{"on": "upload", "do": "slow", "seconds": 1.5}],
}
HERE = Path(__file__).parent

# A file that the dead worker had in hand tells of it when the next one claims it.
TAKEN_UP = text(
    "SELECT extract(epoch FROM max(at)), count(*) FROM file_events"
    " WHERE event = 'lease_lost' AND at > to_timestamp(:since)"
)


def main(kills: int = KILLS) -> None:
    """Kill so many workers, and keep what was seen in tests/bench/recovery.json."""
    dice = random.Random(kills)
    with ExitStack() as exits:
        folder = Path(tempfile.mkdtemp(prefix="ingest-recovery-"))
        folder.chmod(0o755)  # PostgreSQL runs under an account of its own
        exits.callback(shutil.rmtree, folder, ignore_errors=True)
        fleet, engine_url = _fleet(folder, exits)
        engine = create_engine(engine_url)
        exits.callback(engine.dispose)
        workers = [fleet.worker(), fleet.worker()]
        seen = []
        for number in range(kills):
            paths = fleet.put(f"k{number}-{{}}.wav", FILES)
            batch = submit_batch(fleet.client(), paths)
            _await_uploads(fleet, dice.randint(3, FILES // 2))
            killed_at = fleet.store.now()
            workers.pop(dice.randrange(2)).kill()
            fleet.await_finish(batch, 150)
            found = audit(fleet, batch, paths)
            assert not found.faults, found.faults
            with engine.connect() as connection:
                last, files = connection.execute(TAKEN_UP, {"since": killed_at}).one()
            if files:  # else the dice killed a worker with nothing in hand
                seen.append({"files": files, "seconds": round(float(last) - killed_at, 2)})
                print(f"{number + 1}: {files} files, {seen[-1]['seconds']} s", flush=True)
            workers.append(fleet.worker())
        print(f"{fleet.simulator.summary()['uploads_taken']} uploads taken")
    _tell(seen)


def _fleet(folder: Path, exits: ExitStack) -> tuple[Fleet, str]:
    servers = []
    for make in (postgresql, redis):
        home = folder / make.__name__
        home.mkdir()
        servers.append(server := make(home))
        exits.callback(server.close)
        exits.callback(server.kill)
        server.start()
    database = Pair("postgresql-redis", *servers).fresh_database()
    store = open_store(database)
    exits.callback(store.close)
    simulator = exits.enter_context(running(SLOW))
    return Fleet(folder, database, servers[1].url, simulator, store, exits), database


def _await_uploads(fleet: Fleet, number: int) -> None:
    """Wait until the service has taken so many more."""
    enough = fleet.simulator.summary()["uploads_taken"] + number
    wait_for(lambda: fleet.simulator.summary()["uploads_taken"] >= enough, "work")


def _tell(seen: list[dict[str, float]]) -> None:
    seconds = sorted(one["seconds"] for one in seen)
    tenths = quantiles(seconds, n=10)
    print(
        f"{len(seen)} kills with files in hand: median {tenths[4]:.1f} s,"
        f" p90 {tenths[8]:.1f} s, longest {seconds[-1]:.1f} s"
    )
    (HERE / "recovery.json").write_text(json.dumps(seen, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
