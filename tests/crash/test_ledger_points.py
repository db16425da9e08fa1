"""A worker is killed at each point of an upload's way, and another one goes on."""

import signal

import pytest

from tests.crash.launcher import DEATHS
from tests.distributed.fleet import QUICK, wait_for

FILES = 12
SENDS_NOTHING = {"after the claim", "after intent", "after sent"}
NO_DOUBT = {"after the claim", "after intent"}


@pytest.mark.parametrize("point", DEATHS)
def test_killed_at_a_point_of_the_ledger(fleet, point):
    paths = fleet.put("file-{}.wav", FILES)
    victim = fleet.worker(die=point)
    batch = fleet.hand_in(paths)
    assert victim.popen.wait(60) == -signal.SIGKILL
    fleet.kills += 1
    if point in SENDS_NOTHING:
        assert fleet.simulator.summary()["uploads_received"] == 0
    fleet.worker()
    fleet.await_finish(batch)
    found = fleet.check(batch, paths)
    assert fleet.counts(batch) == {"succeeded": FILES}
    # Only a death between `sent` and the record of the reply leaves a doubt. At the later points
    # some other upload may be on its way.
    if point in NO_DOUBT:
        assert found.unknown == 0
    if point in SENDS_NOTHING:
        assert found.doubles == 0
    if point == "after sent":
        assert found.unknown > 0
    if point == "before accepted is recorded":
        assert found.unknown >= found.doubles > 0


def test_killed_after_the_body_went_out_and_before_the_reply(fleet):
    fleet.simulator.set_scenario(QUICK | {"faults": [{"on": "upload", "do": "slow", "seconds": 3}]})
    paths = fleet.put("file-{}.wav", FILES)
    victim = fleet.worker()
    batch = fleet.hand_in(paths)
    wait_for(lambda: fleet.simulator.summary()["uploads_taken"] >= 3, "uploads to be taken")
    fleet.kill(victim)
    fleet.simulator.set_scenario(QUICK)
    fleet.worker()
    fleet.await_finish(batch)
    found = fleet.check(batch, paths)
    assert fleet.counts(batch) == {"succeeded": FILES}
    assert 3 <= found.doubles <= found.unknown


def test_killed_before_the_reply_where_unknown_means_failure(fleet):
    fleet.environment["INGEST_ON_UNKNOWN_UPLOAD"] = "fail"
    fleet.simulator.set_scenario(QUICK | {"faults": [{"on": "upload", "do": "slow", "seconds": 3}]})
    paths = fleet.put("file-{}.wav", FILES)
    victim = fleet.worker()
    batch = fleet.hand_in(paths)
    wait_for(lambda: fleet.simulator.summary()["uploads_taken"] >= 3, "uploads to be taken")
    fleet.kill(victim)
    fleet.simulator.set_scenario(QUICK)
    fleet.worker()
    fleet.await_finish(batch)
    found = fleet.check(batch, paths)
    assert found.doubles == 0
    lines = fleet.results(batch).values()
    lost = [line for line in lines if line["state"] == "failed"]
    assert len(lost) == found.unknown >= 3
    assert {line["error_code"] for line in lost} == {"upload_unknown"}
