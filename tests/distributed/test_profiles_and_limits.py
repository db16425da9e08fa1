"""Profiles, refused credentials, freezes and fairness, as a fleet keeps to them."""

from itertools import pairwise

from sqlalchemy import update

from tests.distributed.audit import audit
from tests.distributed.fleet import KEY, QUICK, TOKEN, USER, wait_for
from worker.adapters.database.engine.engines import parse, single
from worker.adapters.database.tables import pauses
from worker.client import submit_batch
from worker.simulator import running

REFUSING = QUICK | {"credentials": {"robot_key": "other", "robot_token": "other"}}


def make_probe_due(fleet):
    """As if a minute had passed since the last probe."""
    engine = single(parse(fleet.database_url))
    with engine.begin() as connection:
        connection.execute(update(pauses).values(probe_at=pauses.c.paused_at))
    engine.dispose()


def test_refused_credentials_pause_the_profile_until_a_probe_goes_well(one_fleet):
    fleet = one_fleet
    fleet.simulator.set_scenario(REFUSING)
    paths = fleet.put("file-{}.wav", 40)
    workers = [fleet.worker(ready=False) for _ in range(2)]
    batch = submit_batch(fleet.client(), paths)
    wait_for(lambda: "default" in fleet.store.paused(), "the profile to be paused")
    fleet.await_counts(batch, {"queued": 40})
    make_probe_due(fleet)
    for worker in workers:
        worker.await_word('"worker_ready"')
    wait_for(lambda: any("credentials_refused" in w.said for w in workers), "a probe to fail")
    told = fleet.told(batch)
    assert (told["state"], told["profile_state"]) == ("running", "paused")
    assert told["counts"] == {"queued": 40}
    # At first each worker may find it out by itself, afterwards there are only probes.
    assert fleet.simulator.summary()["connections"] <= 4
    assert fleet.simulator.summary()["uploads_received"] == 0
    fleet.simulator.set_scenario(QUICK)
    make_probe_due(fleet)
    fleet.await_counts(batch, {"succeeded": 40})
    fleet.await_finish(batch)
    assert fleet.store.status(batch).profile_state == "open"
    assert not audit(fleet, batch, paths).faults
    assert fleet.simulator.summary()["upload_nodes"] <= 40
    for worker in workers:
        assert KEY not in worker.said
        assert TOKEN not in worker.said


def test_a_throttled_upload_holds_the_uploads_of_every_worker(one_fleet):
    fleet = one_fleet
    busy = {"on": "upload", "do": "http", "status": 429, "retry_after": 2, "calls": [5]}
    fleet.simulator.set_scenario(QUICK | {"faults": [busy]})
    paths = fleet.put("file-{}.wav", 60)
    for _ in range(2):
        fleet.worker()
    batch = submit_batch(fleet.client(), paths)
    fleet.await_counts(batch, {"succeeded": 60})
    found = audit(fleet, batch, paths)
    assert not found.faults
    assert found.doubles == 0
    moments = sorted(entry["at"] for entry in fleet.simulator.ledger()["uploads"])
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    # What was on its way when the word came may still arrive; then nobody sends for 2 s.
    assert max(gaps) >= 1.9
    assert {line.upload_attempts for line in fleet.store.results(batch)} == {1}


def test_a_service_that_is_down_holds_everything_and_burns_no_file(bare_fleet):
    fleet = bare_fleet
    down = [
        {"on": place, "do": "http", "status": 503, "retry_after": 1, "between": [0, 2]}
        for place in ("handshake", "upload", "status")
    ]
    paths = fleet.put("file-{}.wav", 20)
    for _ in range(2):
        fleet.worker()
    fleet.simulator.set_scenario(QUICK | {"faults": down})
    batch = submit_batch(fleet.client(), paths)
    wait_for(lambda: fleet.counts(batch), "the batch to be there")
    wait_for(lambda: fleet.store.status(batch).profile_state == "frozen", "the freeze")
    fleet.await_counts(batch, {"succeeded": 20})
    assert not audit(fleet, batch, paths).faults
    assert fleet.simulator.summary()["connections"] < 20


def test_a_small_batch_is_not_held_up_by_a_large_one(one_fleet):
    fleet = one_fleet
    roomy = [QUICK["categories"][0] | {"upload_max_num": 500}]
    fleet.simulator.set_scenario(
        QUICK | {"categories": roomy, "faults": [{"on": "upload", "do": "slow", "seconds": 0.2}]}
    )
    large, small = fleet.put("large-{}.wav", 2000), fleet.put("small-{}.wav", 10)
    fleet.worker()
    app = fleet.client()
    big = submit_batch(app, large)
    wait_for(lambda: fleet.counts(big).get("succeeded", 0) > 20, "work on the large batch")
    batch = submit_batch(app, small)
    fleet.await_counts(batch, {"succeeded": 10})
    assert fleet.counts(big)["queued"] > 1000


def test_a_profile_has_its_own_service_account_and_limits(one_fleet):
    fleet = one_fleet
    other = fleet.exits.enter_context(
        running(
            QUICK
            | {"tenants": ["Second"], "faults": [{"on": "upload", "do": "slow", "seconds": 0.1}]}
        )
    )
    profiles = fleet.folder / "profiles.toml"
    profiles.write_text(
        f"""
        [profiles.second]
        base_url = "{other.url}"
        robot_key_env = "SECOND_KEY"
        robot_token_env = "SECOND_TOKEN"
        username_env = "SECOND_USER"
        tenant_name = "Second"
        max_concurrent_uploads = 2
        """
    )
    fleet.environment |= {
        "INGEST_PROFILES": str(profiles),
        "SECOND_KEY": KEY,
        "SECOND_TOKEN": TOKEN,
        "SECOND_USER": USER,
    }
    for _ in range(2):
        fleet.worker(ready=False)
    app = fleet.client()
    first = submit_batch(app, fleet.put("first-{}.wav", 15))
    second = submit_batch(app, fleet.put("second-{}.wav", 15), profile="second")
    nowhere = submit_batch(app, fleet.put("nowhere-{}.wav", 2), profile="nobody-knows")
    fleet.await_counts(first, {"succeeded": 15})
    fleet.await_counts(second, {"succeeded": 15})
    assert fleet.simulator.summary()["uploads_taken"] == 15
    assert other.summary()["uploads_taken"] == 15
    assert other.summary()["uploads_in_flight_max"] <= 2
    assert fleet.store.status(second).profile == "second"
    refused = fleet.told(nowhere)
    assert (refused["state"], refused["total"]) == ("rejected", 0)
    assert "nobody-knows" in refused["reason"]
