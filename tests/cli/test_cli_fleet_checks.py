"""What ``doctor`` says about a fleet."""

import json
import ssl

import pytest

from tests.cli.desk import invoke
from worker.cli import fleet_checks
from worker.core.lifecycle import FileState, Lane
from worker.core.model.fleet import Overview
from worker.settings import Settings


def an_overview(**more):
    return Overview(
        **({"open_files": {}, "oldest_due": {}, "profiles": {}, "notifications": 0} | more)
    )


WAITING = {("default", FileState.QUEUED): 7}


def test_nobody_at_work_is_amiss_only_where_something_waits():
    assert fleet_checks.workers(an_overview()).ok
    assert fleet_checks.workers(an_overview(open_files=WAITING, workers=1)).ok
    idle = fleet_checks.workers(an_overview(open_files=WAITING))
    assert not idle.ok
    assert "7 open files waiting" in idle.detail
    assert idle.cure == "celery -A worker worker"


@pytest.mark.parametrize(("seconds", "well"), [(0.0, True), (119.0, True), (121.0, False)])
def test_work_that_is_not_taken_up_is_amiss(seconds, well):
    seen = an_overview(oldest_due={("default", Lane.POLL): seconds})
    assert fleet_checks.lateness(seen).ok is well


@pytest.mark.parametrize(("ago", "well"), [(None, False), (3.0, True), (61.0, False)])
def test_beat_lives_while_its_ticks_are_worked(ago, well):
    assert fleet_checks.beat(ago).ok is well


def test_a_queue_that_only_grows_is_amiss():
    assert fleet_checks.queue_check({}).ok
    assert fleet_checks.queue_check({"celery": 3}).detail == "celery 3"
    assert not fleet_checks.queue_check({"celery": 3, "ingest.poll": 5000}).ok


def test_somebody_who_reads_our_queues_and_has_another_database_is_amiss(store):
    store.attend("ours", None, "host:1", 60.0)
    settings = Settings.load()
    assert not list(fleet_checks.neighbours(settings, {}))
    (well,) = fleet_checks.neighbours(settings, {"celery@one": "ours"})
    assert well.ok
    (amiss,) = fleet_checks.neighbours(
        settings, {"celery@one": "ours", "celery@two": "another", "them@three": None}
    )
    assert not amiss.ok
    assert amiss.detail.startswith("celery@two, them@three: on another database")
    assert "INGEST_NAMESPACE" in amiss.cure


def test_a_broker_that_nobody_verifies_is_told():
    assert not fleet_checks._trusted({"ssl_cert_reqs": ssl.CERT_REQUIRED})
    assert "not looked at" in fleet_checks._trusted({"ssl_cert_reqs": ssl.CERT_NONE})


def test_a_dead_letter_is_amiss_and_says_how_to_send_it_again(store, monkeypatch):
    names = checked()
    assert names["notifications"]["ok"]
    assert "workers" not in names  # embedded: nobody is expected
    monkeypatch.setattr(type(store), "overview", lambda _: an_overview(notifications_dead=2))
    dead = checked()["notifications"]
    assert not dead["ok"]
    assert "notify replay" in dead["cure"]


def test_the_memory_of_beats_ticks(store):
    assert store.ticked_ago() is None
    assert store.lead("a", 0.0)
    ago = store.ticked_ago()
    assert ago is not None
    assert 0 <= ago < 30


def checked():
    return {one["name"]: one for one in json.loads(invoke("doctor", "--json").stdout)["checks"]}
