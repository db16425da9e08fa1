"""A PostgreSQL that takes no writes for a while: a standby, or a guard against a full disk."""

from tests.contract.test_store_process import read_only
from tests.distributed.audit import audit
from tests.distributed.fleet import wait_for
from worker.client import submit_batch


def test_what_comes_while_the_database_is_read_only_is_neither_lost_nor_doubled(one_fleet):
    fleet = one_fleet
    paths = fleet.put("file-{}.wav", 40)
    worker = fleet.worker()
    early = submit_batch(fleet.client(), paths[:20])
    wait_for(lambda: fleet.simulator.summary()["uploads_taken"] > 0, "an upload")
    with read_only(fleet.database_url):
        late = submit_batch(fleet.client(), paths[20:])
        worker.await_word('"store_unavailable"')
    for batch, files in ((early, paths[:20]), (late, paths[20:])):
        fleet.await_counts(batch, {"succeeded": 20})
        assert not audit(fleet, batch, files).faults
    assert fleet.simulator.summary()["doubles"] == 0
    assert fleet.simulator.summary()["uploads_taken"] == 40
