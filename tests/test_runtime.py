"""A process's background tasks: none ends without a word, and none falls with another."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import uuid4

import pytest
from sqlalchemy import update

from tests.distributed.fleet import KEY, QUICK, TOKEN, USER, wait_for
from tests.fakes import Events
from worker.adapters.database import open_store
from worker.adapters.database.engine.engines import parse, single
from worker.adapters.database.tables import pauses
from worker.bootstrap import HandInRequest, hand_in
from worker.core.model.ids import BatchId
from worker.core.schedule import parse_schedules
from worker.core.timings import Timings
from worker.runtime import Hours, Runtime
from worker.settings import Settings
from worker.simulator import running


class BrokenWaker:
    """Its first calls fail in a way that nobody has thought of."""

    def __init__(self, failures):
        self._left = failures
        self.woken = Event()

    def wake(self, profile, crew, lane):
        if self._left:
            self._left -= 1
            raise LookupError("nobody thought of this")
        self.woken.set()

    def wake_notify(self):
        """There are no notifications here."""


@pytest.fixture
def settings(monkeypatch, tmp_path, sqlite_url):
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "INGEST_DATABASE_URL": sqlite_url,
        "CHATFLOW_ROBOT_KEY": KEY,
        "CHATFLOW_ROBOT_TOKEN": TOKEN,
        "CHATFLOW_USERNAME": USER,
    }.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


@contextmanager
def at_work(settings, waker, heard):
    store = open_store(settings.database_url)
    runtime = Runtime(settings, store, waker, telemetry=heard, hours=Hours(tick=0.01))
    try:
        yield runtime, store
    finally:
        runtime.drain()
        runtime.close()
        store.close()


def test_an_unknown_error_in_a_sweep_is_told_and_the_next_sweep_goes_on(settings):
    settings = settings.model_copy(update={"timings": Timings(wake_again=0.0)})
    heard, waker = Events(), BrokenWaker(2)
    with at_work(settings, waker, heard) as (runtime, store):
        hand_in(store, HandInRequest(BatchId(uuid4())), ["/data/a.txt"])
        runtime.start_ticking()
        assert waker.woken.wait(20), heard.events
    assert len(heard.said("step_failed", step="sweep")) == 2


def test_a_heartbeat_that_fails_harms_no_sweep(settings):
    heard, waker = Events(), BrokenWaker(0)

    def fail():
        raise ArithmeticError("nobody thought of this")

    with at_work(settings, waker, heard) as (runtime, store):
        hand_in(store, HandInRequest(BatchId(uuid4())), ["/data/a.txt"])
        runtime.start_ticking(fail)
        assert waker.woken.wait(20), heard.events
        wait_for(lambda: len(heard.said("step_failed", step="heartbeat")) > 1, "a second one")


def test_a_paused_profile_that_is_not_configured_keeps_no_other_from_its_probe(
    settings, monkeypatch
):
    heard = Events()
    with running(QUICK) as simulator:
        monkeypatch.setenv("CHATFLOW_BASE_URL", simulator.url)
        with at_work(Settings.load(), BrokenWaker(0), heard) as (runtime, store):
            for profile in ("aaa", "default", "zzz"):
                store.pause(profile, "refused")
            make_due(settings)
            runtime.start_ticking()
            wait_for(lambda: heard.said("profile_resumed", profile="default"), "the probe")
            assert store.paused() == ["aaa", "zzz"]
    warnings = heard.said("step_failed")
    assert sorted(fields["profile"] for fields in warnings) == ["aaa", "zzz"]


SCHEDULE = """
[[schedule]]
name = "calls"
cron = "* * * * *"
paths = ["{folder}"]
after = "{after}"
"""


@pytest.mark.parametrize("after", ["delete", "move:/elsewhere", "leave"])
def test_a_message_deletes_and_moves_only_what_the_workers_own_schedules_say(
    settings, monkeypatch, tmp_path, after
):
    text = SCHEDULE.format(folder=tmp_path, after=after)
    asked, heard = parse_schedules(text, "message"), Events()
    with at_work(settings, BrokenWaker(0), heard) as (runtime, store):
        runtime.keep_schedules(asked)
        assert (store.last_due("calls") is None) == (after != "leave")
        assert bool(heard.said("schedule_failed", schedule="calls")) == (after != "leave")
    own, heard = tmp_path / "own.toml", Events()
    own.write_text(text.replace("* * * * *", "0 2 * * *").replace("calls", "of another name"))
    monkeypatch.setenv("INGEST_SCHEDULES", str(own))
    with at_work(Settings.load(), BrokenWaker(0), heard) as (runtime, store):
        runtime.keep_schedules(asked)
        assert store.last_due("calls") is not None
        assert not heard.said("schedule_failed")


def make_due(settings):
    """As if the pauses had been there for long."""
    engine = single(parse(settings.database_url))
    with engine.begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=1)
        connection.execute(update(pauses).values(probe_at=long_ago))
    engine.dispose()
