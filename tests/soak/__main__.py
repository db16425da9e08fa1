"""`python -m tests.soak [MINUTES] [SEED]`: steady arrivals, random faults, and nothing may grow.

A PostgreSQL, a Redis, two workers, Beat and the stand-in service, all of its own. One worker, the
elder, is never killed: its memory and handles are what is watched. At the end every file must have
ended and every account must balance. The figures go to `soak.csv`.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import UUID, uuid4

import psutil
from kombu import Connection
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.crash import servers
from tests.crash.conftest import LEASE, CrashFleet, Pair
from tests.crash.test_rounds import UNRULY
from tests.distributed.audit import audit
from tests.soak.figures import Sample, growths, summary, write
from worker.adapters.database import open_store
from worker.bootstrap import HandInRequest, hand_in
from worker.core.model.ids import BatchId
from worker.errors import IngestError
from worker.simulator import running

MINUTES = 30.0
BATCH_EVERY = 2.0
FILES = (3, 9)
FAULT_EVERY = (10.0, 30.0)
LOOK_EVERY = 5.0
QUEUES = ("celery", "ingest.submit", "ingest.poll", "ingest.notify")
FIGURES = Path("soak.csv")


class Soak:
    """One soak: what arrives, what goes wrong, and what is seen meanwhile."""

    def __init__(self, fleet: CrashFleet, dice: random.Random) -> None:
        self.fleet, self.dice = fleet, dice
        self.began = time.monotonic()
        self.elder = fleet.worker()
        self.victim = fleet.worker()
        fleet.launch("beat", "beat")
        self.handed_in: dict[UUID, list[str]] = {}
        self.samples: list[Sample] = []
        self.faults: list[str] = []
        self._engine = create_engine(fleet.pair.database.url, poolclass=NullPool)

    # --- arrivals ---

    def arrive(self) -> None:
        """A few files more; a database that is away is tried again, as any upstream job would."""
        batch = uuid4()
        pattern = f"{batch.hex[:10]}-{{}}.wav"
        paths = self.fleet.put(pattern, self.dice.randint(*FILES))
        while True:
            with suppress(IngestError):
                hand_in(self.fleet.store, HandInRequest(BatchId(batch)), paths)
                break
            time.sleep(0.5)
        self.handed_in[batch] = paths

    # --- faults ---

    def go_wrong(self) -> None:
        """One thing at a time, chosen by the dice."""
        fault: Callable[[], None] = self.dice.choice(
            [self.kill, self.kill, self.kill, self.stop, self.freeze, self.lose_broker,
             self.flush, self.lose_database]
        )  # fmt: skip
        fault()
        self.faults.append(fault.__name__)

    def kill(self) -> None:
        self.fleet.kill(self.victim)
        self.victim = self.fleet.worker()

    def stop(self) -> None:
        self.victim.end()
        self.victim = self.fleet.worker()

    def freeze(self) -> None:
        self.victim.freeze()
        time.sleep(2 * LEASE)
        self.victim.thaw()

    def flush(self) -> None:
        self.fleet.pair.flush()

    def lose_broker(self) -> None:
        self.fleet.pair.broker.kill()
        time.sleep(self.dice.uniform(0.5, 3.0))
        self.fleet.pair.broker.start()

    def lose_database(self) -> None:
        self.fleet.pair.database.kill()
        time.sleep(self.dice.uniform(0.5, 3.0))
        self.fleet.pair.database.start()

    # --- looks ---

    def look(self) -> None:
        elder = psutil.Process(self.elder.popen.pid)
        seen = self.fleet.store.overview()
        with self._engine.connect() as connection:
            count = text("SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'crash_%'")
            connections = int(connection.execute(count).scalar_one())
        self.samples.append(
            Sample(
                seconds=round(time.monotonic() - self.began, 1),
                memory=round(elder.memory_info().rss / 1e6, 1),
                handles=elder.num_fds(),
                threads=elder.num_threads(),
                connections=connections,
                messages=self._messages(),
                open_files=sum(seen.open_files.values()),
                late=round(max(seen.oldest_due.values(), default=0.0), 2),
                done=sum(map(len, self.handed_in.values())) - sum(seen.open_files.values()),
            )
        )

    def _messages(self) -> int:
        with Connection(self.fleet.pair.broker.url) as connection:
            channel = connection.default_channel
            return sum(int(channel.client.llen(queue)) for queue in QUEUES)

    # --- the whole ---

    def run(self, seconds: float) -> None:
        """Let files arrive and things go wrong for so long."""
        next_batch = next_look = 0.0
        next_fault = FAULT_EVERY[1]
        while (now := time.monotonic() - self.began) < seconds:
            if now >= next_batch:
                self.arrive()
                next_batch += BATCH_EVERY
            if now >= next_fault:
                self.go_wrong()
                next_fault = time.monotonic() - self.began + self.dice.uniform(*FAULT_EVERY)
            if now >= next_look:
                self.look()
                next_look = now + LOOK_EVERY
            time.sleep(0.1)

    def verdict(self) -> list[str]:
        """What is wrong at the end, once everything has come to its end."""
        for batch in self.handed_in:
            self.fleet.await_finish(batch, within=300.0)
        names = [path for paths in self.handed_in.values() for path in paths]
        found = audit(self.fleet, None, names)
        print(f"{len(self.handed_in)} batches, {found}; {self.fleet.kills} kills")
        print(
            f"went wrong: {', '.join(f'{n} {self.faults.count(n)}' for n in sorted(set(self.faults)))}"
        )
        gone = [f"{p.name} has ended" for p in (self.elder, self.victim) if not p.alive]
        return [*found.faults, *gone, *self._loud(), *growths(self.samples)]

    def _loud(self) -> list[str]:
        told = "".join(path.read_text(errors="replace") for path in self.fleet.logs())
        return ["a step failed without a name, see the logs"] if "step_failed" in told else []


def main(minutes: float = MINUTES, seed: int | None = None) -> int:
    """Soak for so many minutes; 0 when all is well."""
    seed = random.randrange(10**9) if seed is None else seed
    print(f"{minutes:g} minutes, seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ingest-soak-"))
    folder.chmod(0o755)  # PostgreSQL runs under an account of its own
    with ExitStack() as exits:
        exits.callback(shutil.rmtree, folder, ignore_errors=True)
        pair = _pair(folder, exits)
        database = pair.fresh_database()
        store = open_store(database)
        exits.callback(store.close)
        simulator = exits.enter_context(running(UNRULY | {"seed": seed}))
        fleet = CrashFleet(folder, database, pair.broker.url, simulator, store, exits, pair=pair)
        fleet.environment["INGEST_MAX_UPLOAD_ATTEMPTS"] = "9"
        soak = Soak(fleet, random.Random(seed))
        soak.run(60.0 * minutes)
        write(soak.samples, FIGURES)
        wrong = soak.verdict()
        print(summary(soak.samples))
        print(f"{len(soak.samples)} samples in {FIGURES}")
    print("\n".join(wrong) or "all is well")
    return 1 if wrong else 0


def _pair(folder: Path, exits: ExitStack) -> Pair:
    made = []
    for make in (servers.postgresql, servers.redis):
        home = folder / make.__name__
        home.mkdir()
        made.append(server := make(home))
        exits.callback(server.close)
        exits.callback(server.kill)
        server.start()
    return Pair("postgresql-redis", *made)


if __name__ == "__main__":
    given = sys.argv[1:3]
    sys.exit(main(*[float(given[0])] if given else [], *map(int, given[1:])))
