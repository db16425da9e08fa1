"""The Celery application: its settings are ones that Celery knows, its names fit together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from celery.app.defaults import DEFAULTS

import worker.tasks
from worker.adapters.broker.names import CONTROL, BrokerNames
from worker.adapters.broker.options import transport_options
from worker.app import (
    COMMON,
    EMBEDDED,
    app,
    asked_for,
    beat_schedule,
    configure,
)
from worker.settings import Settings

NAMES = BrokerNames().settings("redis://localhost")
BROKERS = ["redis://localhost", "rediss://localhost", "amqp://localhost", "memory://"]


@pytest.fixture
def settings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    schedules = tmp_path / "schedules.toml"
    schedules.write_text("")
    monkeypatch.setenv("INGEST_SCHEDULES", str(schedules))
    return Settings.load()


@pytest.mark.parametrize("name", [*COMMON, *EMBEDDED, *NAMES])
def test_every_setting_is_one_that_celery_knows(name):
    assert name in DEFAULTS


def test_every_task_that_is_sent_or_routed_exists(settings):
    source = "".join(path.read_text() for path in Path(worker.tasks.__file__).parent.rglob("*.py"))
    sent = set(
        re.findall(r'"(worker\.(?:ingest_batch|submit|poll|notify|heartbeat|tick\w*))"', source)
    )
    scheduled = {entry["task"] for entry in beat_schedule(settings).values()}
    routed = set(NAMES["task_routes"])
    assert "worker.tick_schedules" in scheduled
    assert sent | scheduled | routed <= set(app.tasks)


def test_every_route_leads_to_a_queue_that_workers_serve():
    served = {queue.name for queue in NAMES["task_queues"]}
    assert {route["queue"] for route in NAMES["task_routes"].values()} <= served


@pytest.mark.parametrize("broker", BROKERS)
def test_no_message_reaches_two_queues(broker):
    keys = [(queue.exchange.name, queue.routing_key) for queue in BrokerNames().declared(broker)]
    assert len(set(keys)) == len(keys)


def test_the_default_queue_is_what_any_celery_client_declares():
    (control,) = [
        each for each in BrokerNames().declared("amqp://localhost") if each.name == CONTROL
    ]
    assert (control.durable, control.queue_arguments) == (True, None)


def test_our_own_queues_are_quorum_queues_on_rabbitmq_only():
    kinds = {
        queue.name: (queue.queue_arguments or {}).get("x-queue-type")
        for queue in BrokerNames().declared("amqps://localhost")
    }
    del kinds[CONTROL]
    assert set(kinds.values()) == {"quorum"}
    assert not any(each.queue_arguments for each in BrokerNames().declared("redis://localhost"))


@pytest.mark.parametrize(
    ("arguments", "pool"),
    [
        (["worker", "--pool=prefork"], "prefork"),
        (["worker", "--pool", "solo", "-c", "2"], "solo"),
        (["worker", "-P", "processes"], "processes"),
        (["worker", "-Pthreads"], "threads"),
        (["worker", "--loglevel", "INFO"], None),
        (["worker", "-P"], None),
    ],
)
def test_the_pool_that_a_command_line_names_is_known(arguments, pool):
    assert asked_for(arguments, "-P", "--pool") == pool


def test_a_publish_to_a_dead_redis_does_not_hang():
    assert 0 < transport_options("redis://localhost", {})["socket_timeout"] <= 60


def test_messages_carry_nothing_but_json():
    assert COMMON["accept_content"] == ["json"]


def test_an_embedded_run_leaves_the_configured_broker_alone(settings, monkeypatch):
    monkeypatch.setenv("INGEST_BROKER_URL", "redis://nowhere.invalid")
    before = dict(app.conf)
    try:
        assert configure(Settings.load(), embedded=True).conf.broker_url.startswith("memory://")
    finally:
        app.conf.update(before)


def test_what_the_operator_says_to_the_brokers_client_reaches_it(settings, monkeypatch):
    Path("ca.crt").touch()
    monkeypatch.setenv("INGEST_BROKER_URL", "sentinel://127.0.0.1:26379")
    monkeypatch.setenv("INGEST_BROKER_OPTIONS", '{"master_name": "m", "ssl_ca_certs": "ca.crt"}')
    before = dict(app.conf)
    try:
        conf = configure(Settings.load()).conf
        assert conf.broker_transport_options["master_name"] == "m"
        assert "ssl_ca_certs" not in conf.broker_transport_options
        assert conf.broker_use_ssl["ssl_ca_certs"] == "ca.crt"
    finally:
        app.conf.update(before)
