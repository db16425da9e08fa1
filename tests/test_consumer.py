"""What a worker takes off the broker, and what it does about what it can't use."""

from __future__ import annotations

from threading import Barrier
from types import SimpleNamespace

import pytest
from billiard.einfo import ExceptionInfo

from worker.consumer import Consumer, Malformed, ThreadPool, check

GOOD = {"task": "worker.ingest_batch", "id": "x"}


def message(payload, **headers):
    return SimpleNamespace(headers=GOOD | headers, payload=payload)


@pytest.mark.parametrize(
    "proper",
    [
        message([[], {}, {}]),
        message([["a"], {"b": 1}, None]),
        message([[], {}, {"callbacks": None, "errbacks": [{}], "chain": [], "chord": None}]),
        message([[], {}, {}], timelimit=[None, 5], eta="2026-01-01T00:00:00Z", retries=3),
        message([[], {}, {}], stamps={"a": [1]}, stamped_headers=["a"], somebody="else's"),
        message({"args": ["a"], "kwargs": {}}),
        SimpleNamespace(headers={}, payload=GOOD | {"args": ["a"], "kwargs": {"b": 1}}),
        SimpleNamespace(headers={}, payload=GOOD),
    ],
)
def test_what_celery_clients_send_is_taken(proper):
    check(proper)


@pytest.mark.parametrize("odd", [5, "x", [], None])
def test_headers_that_are_no_object_are_malformed(odd):
    with pytest.raises(Malformed, match="no object"):
        check(SimpleNamespace(headers=odd, payload=[[], {}, {}]))


def test_what_fails_around_a_task_is_a_result_that_frees_its_place():
    pool, results = ThreadPool(1), []

    def target():
        raise ValueError("before the task began")

    try:
        pool.on_apply(target, (), {}, results.append, lambda *_: None).get()
    finally:
        pool.on_stop()
    ((failed, told, _),) = results
    assert failed
    assert isinstance(told, ExceptionInfo)


def test_a_pool_that_grows_and_shrinks_brings_its_tasks_to_an_end():
    pool, together, ended = ThreadPool(1), Barrier(3), []

    def target():
        together.wait(20)
        ended.append(1)
        return 0, None, 0.0

    def work():
        pool.on_apply(target, (), {}, lambda *_: None, lambda *_: None)

    work()
    pool.grow(2)
    work()
    work()
    pool.shrink(2)
    pool.on_stop()
    assert len(ended) == 3


def test_no_queues_for_waiting_messages_are_declared():
    assert not any("delayed" in step for step in Consumer.Blueprint.default_steps)
