"""A broker that is lost or demoted: the worker waits for it, and leaves when it is told to."""

from __future__ import annotations

import signal

import pytest
from redis import Redis

from tests.crash.servers import free_port
from tests.crash.servers import redis as private_redis
from tests.distributed.fleet import QUICK, wait_for
from worker.client import submit_batch


@pytest.fixture
def broker(one_fleet, tmp_path):
    """A Redis of this test's own, in place of the shared one."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = private_redis(folder)
    server.start()
    one_fleet.exits.callback(server.close)
    one_fleet.exits.callback(server.kill)
    one_fleet.broker_url = server.url
    one_fleet.environment["INGEST_BROKER_URL"] = server.url
    return server


def test_a_redis_that_becomes_a_replica_is_waited_for(one_fleet, broker):
    fleet = one_fleet
    worker = fleet.worker()
    with Redis.from_url(broker.url) as client:
        client.replicaof("127.0.0.1", free_port())
        wait_for(lambda: "Connection to broker lost" in worker.said, "the worker to notice")
        assert worker.alive
        client.replicaof("NO", "ONE")
    batch = submit_batch(fleet.client(), fleet.put("{}.wav", 3))
    fleet.await_counts(batch, {"succeeded": 3})
    assert worker.end() == 0


def test_a_worker_whose_broker_is_gone_leaves_in_time_with_nothing_in_hand(one_fleet, broker):
    fleet = one_fleet
    fleet.simulator.set_scenario(
        QUICK | {"faults": [{"on": "upload", "do": "slow", "seconds": 0.2}]}
    )
    worker = fleet.worker()
    batch = submit_batch(fleet.client(), fleet.put("{}.wav", 80))
    wait_for(lambda: fleet.simulator.summary()["uploads_taken"] >= 5, "uploads")
    with broker.frozen():
        worker.end(signal.SIGTERM, within=35)
    assert "submitting" not in fleet.counts(batch)
