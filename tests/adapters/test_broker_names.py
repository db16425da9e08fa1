"""Installations on one broker: nothing of one is called as something of the other."""

from __future__ import annotations

from typing import Any

import pytest

from worker.adapters.broker.names import BrokerNames
from worker.errors import ConfigurationError
from worker.settings import Settings

BROKER = "redis://localhost"


def names_of(namespace: str) -> set[str]:
    """Everything that an installation has on its broker, by name."""
    names = BrokerNames(namespace)
    own: Any = names.to_itself("celery@host")
    told = names.settings(BROKER)
    found = {queue.name for queue in (*told["task_queues"], own)}
    found |= {queue.exchange.name for queue in (*told["task_queues"], own)}
    found |= {queue.routing_key for queue in (*told["task_queues"], own)}
    found |= {route["queue"] for route in told["task_routes"].values()}
    exchanges = ("control_exchange", "event_exchange", "event_queue_prefix")
    return found | {told[key] for key in ("task_default_queue", *exchanges)}


def test_namespaces_have_nothing_in_common():
    none, one, two = names_of(""), names_of("one"), names_of("two")
    assert not none & one
    assert not one & two
    assert {name.removeprefix("one.") for name in one} == none
    keys = [BrokerNames(name).keys(BROKER) for name in ("one", "two")]
    assert not set(keys[0].values()) & set(keys[1].values())


def test_without_a_namespace_the_queue_to_send_to_is_celerys_own():
    told = BrokerNames().settings("amqp://localhost")
    assert told["task_default_queue"] == "celery"
    assert told["control_exchange"] == "celery"
    assert not BrokerNames().keys(BROKER)


def test_what_a_worker_sends_itself_leaves_no_queue_behind():
    own: Any = BrokerNames("one").to_itself("celery@host")
    assert own.auto_delete
    assert own.expires


@pytest.mark.parametrize("odd", ["One", "a.b", "-a", "a b", "a" * 41])
def test_a_namespace_is_a_plain_word(monkeypatch, tmp_path, odd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INGEST_NAMESPACE", odd)
    with pytest.raises(ConfigurationError, match="INGEST_NAMESPACE: write up to 40"):
        Settings.load()
