"""The Celery application: its settings are ones that Celery knows, its names fit together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from celery.app.defaults import DEFAULTS

import worker.tasks
from worker.app import (
    COMMON,
    CONTROL_QUEUE,
    EMBEDDED,
    app,
    beat_schedule,
    configure,
    queues,
    transport_options,
)
from worker.settings import Settings

BROKERS = ["redis://localhost", "rediss://localhost", "amqp://localhost", "memory://"]


@pytest.fixture
def settings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    schedules = tmp_path / "schedules.toml"
    schedules.write_text("")
    monkeypatch.setenv("INGEST_SCHEDULES", str(schedules))
    return Settings.load()


@pytest.mark.parametrize("name", [*COMMON, *EMBEDDED])
def test_every_setting_is_one_that_celery_knows(name):
    assert name in DEFAULTS


def test_every_task_that_is_sent_or_routed_exists(settings):
    source = "".join(path.read_text() for path in Path(worker.tasks.__file__).parent.rglob("*.py"))
    sent = set(
        re.findall(r'"(worker\.(?:ingest_batch|submit|poll|notify|heartbeat|tick\w*))"', source)
    )
    scheduled = {entry["task"] for entry in beat_schedule(settings).values()}
    routed = set(COMMON["task_routes"])
    assert "worker.tick_schedules" in scheduled
    assert sent | scheduled | routed <= set(app.tasks)


def test_every_route_leads_to_a_queue_that_workers_serve():
    served = {queue.name for queue in queues("redis://localhost")}
    assert {route["queue"] for route in COMMON["task_routes"].values()} <= served


@pytest.mark.parametrize("broker", BROKERS)
def test_no_message_reaches_two_queues(broker):
    keys = [(queue.exchange.name, queue.routing_key) for queue in queues(broker)]
    assert len(set(keys)) == len(keys)


def test_the_default_queue_is_what_any_celery_client_declares():
    (control,) = [queue for queue in queues("amqp://localhost") if queue.name == CONTROL_QUEUE]
    assert (control.durable, control.queue_arguments) == (True, None)


def test_our_own_queues_are_quorum_queues_on_rabbitmq_only():
    kinds = {
        queue.name: (queue.queue_arguments or {}).get("x-queue-type")
        for queue in queues("amqps://localhost")
    }
    del kinds[CONTROL_QUEUE]
    assert set(kinds.values()) == {"quorum"}
    assert not any(queue.queue_arguments for queue in queues("redis://localhost"))


def test_a_publish_to_a_dead_redis_does_not_hang():
    assert 0 < transport_options("redis://localhost")["socket_timeout"] <= 60


def test_messages_carry_nothing_but_json():
    assert COMMON["accept_content"] == ["json"]


def test_an_embedded_run_leaves_the_configured_broker_alone(settings, monkeypatch):
    monkeypatch.setenv("INGEST_BROKER_URL", "redis://nowhere.invalid")
    before = dict(app.conf)
    try:
        assert configure(Settings.load(), embedded=True).conf.broker_url.startswith("memory://")
    finally:
        app.conf.update(before)
