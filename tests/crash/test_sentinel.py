"""Redis is lost in the middle of a batch, and its replica takes over."""

import json
from contextlib import ExitStack

from tests.crash.conftest import CrashFleet
from tests.crash.sentinels import PASSWORD, SENTINELS_PASSWORD, watched
from tests.crash.test_bad_days import (  # noqa: F401 - a fixture
    FILES,
    SLOW,
    conclude,
    home,
    postgresql_alone,
    readied,
    started,
    taken,
)
from tests.distributed.fleet import wait_for
from worker.adapters.database.store import open_store
from worker.core.model.ids import BatchId
from worker.simulator import running


@postgresql_alone
def test_a_machine_with_the_master_and_a_sentinel_dies_in_the_middle_of_a_batch(pair, tmp_path):
    with ExitStack() as exits:
        pair.up()
        redis = exits.enter_context(watched(home(exits)))
        database = pair.fresh_database()
        store = open_store(database)
        exits.callback(store.close)
        simulator = exits.enter_context(running(SLOW))
        fleet = CrashFleet(tmp_path, database, redis.url, simulator, store, exits, pair=pair)
        fleet.environment["INGEST_BROKER_OPTIONS"] = json.dumps(redis.options)
        workers = [fleet.worker() for _ in range(2)]
        beat = fleet.launch("beat", "beat")
        batch = fleet.hand_in_durably(paths := fleet.put("f-{}.wav", FILES))
        wait_for(lambda: taken(fleet) >= 10, "work")
        redis.sentinels[0].kill()
        redis.master.kill()
        conclude(fleet, batch, paths)
        # What is handed in by message reaches the workers through the server that took over.
        wait_for(lambda: redis.leads(redis.replica), "the replica to take over")
        more = fleet.put("g-{}.wav", 5)
        second = fleet.cli("submit", *more)
        assert second.returncode == 0
        assert "broker is away" not in second.stderr
        conclude(fleet, BatchId(second.stdout.strip()), more)
        assert all(process.alive for process in (*workers, beat))
        said = "".join(process.said for process in (*workers, beat))
        assert PASSWORD not in said
        assert SENTINELS_PASSWORD not in said
