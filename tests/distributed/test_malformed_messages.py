"""Messages that no worker can do anything with: each costs one line, and nothing else."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from kombu import Connection
from redis import Redis

from tests.distributed.fleet import PAIRS, wait_for
from worker.client import submit_batch

TASK = "worker.ingest_batch"
BODIES = [
    '{"a": 1}',
    "[]",
    "[1]",
    "[[], {}]",
    "[[], {}, {}, {}]",
    "null",
    "true",
    "5",
    "1.5",
    '"abc"',
    "[[], {}, 5]",
    "[[], [], {}]",
    "[{}, {}, {}]",
    "[5, {}, {}]",
    '[[], {}, {"callbacks": 5}]',
    '[[], {}, {"chord": [1]}]',
    '["args", {}, {}]',
    "{",
    "",
]
HEADERS = [
    {"timelimit": "x"},
    {"timelimit": [1]},
    {"stamps": 5},
    {"stamped_headers": 5},
    {"id": 5},
    {"id": None},
    {"task": ["x"]},
    {"task": {}},
    {"task": "no.such.task"},
    {"retries": "many"},
    {"eta": 5},
    {"eta": "never"},
    {"expires": [1]},
    {"group": []},
    {"callbacks": 5},
    {"argsrepr": 5},
]
PROTOCOL_1 = [
    {"task": TASK},
    {"task": TASK, "id": 5},
    {"task": TASK, "id": "x", "args": 5},
    {"task": TASK, "id": "x", "args": [], "kwargs": []},
    {"task": ["x"], "id": "x", "args": [], "kwargs": {}},
    {"task": "no.such.task", "args": [], "kwargs": {}},
    {"task": TASK, "id": "x", "args": [], "kwargs": {}, "timelimit": "x"},
    {"files": ["/data/a.wav"]},
    {"args": []},
]
RAW = ["garbage", "5", "{}", "[]", '{"properties": 5}', '{"properties": {}}', b"\xff\xfe"]
"""What is no message at all, pushed onto the list that is the queue."""


def messages():
    good = {"task": TASK, "lang": "py"}
    for body in BODIES:
        yield body, good | {"id": str(uuid4())}
    for odd in HEADERS:
        yield "[[], {}, {}]", good | {"id": str(uuid4())} | odd
    yield "[[], {}, {}]", {"task": TASK}
    for body in PROTOCOL_1:
        yield json.dumps(body), {}


def send(broker, body, headers):
    with Connection(broker) as connection:
        connection.default_channel.basic_publish(
            connection.default_channel.prepare_message(
                body,
                content_type="application/json",
                content_encoding="utf-8",
                headers=headers,
                properties={"delivery_mode": 2},
            ),
            exchange="",
            routing_key="celery",
        )


def waiting(broker):
    """Messages that the broker still has for workers, in hand or not."""
    if broker.startswith("redis"):
        with Redis.from_url(broker) as client:
            return int(client.llen("celery")) + int(client.hlen("unacked"))
    with Connection(broker) as connection:
        return connection.default_channel.queue_declare("celery", passive=True).message_count


@pytest.mark.parametrize("pair", PAIRS)
def test_a_malformed_message_is_refused_and_the_worker_goes_on(make_fleet, pair):
    fleet = make_fleet(pair)
    worker = fleet.worker("-c", "2", INGEST_METRICS_PORT="")
    sent = 0
    for body, headers in messages():
        send(fleet.broker_url, body, headers)
        sent += 1
    if fleet.broker_url.startswith("redis"):
        with Redis.from_url(fleet.broker_url) as client:
            client.lpush("celery", *RAW)
        sent += len(RAW)
    batch = submit_batch(fleet.client(), fleet.put("{}.wav", 3))
    fleet.await_counts(batch, {"succeeded": 3})
    wait_for(lambda: worker.said.count('"message_refused"') >= sent, "every refusal", 20)
    assert worker.said.count('"message_refused"') == sent
    assert worker.alive
    wait_for(lambda: waiting(fleet.broker_url) == 0, "nothing left on the queue")
    assert worker.end() == 0
