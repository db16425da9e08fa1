"""What a worker answers when it is asked from afar."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery.concurrency import solo
from celery.worker.control import Panel

import worker.tasks  # noqa: F401 - as a worker loads it
from worker.consumer import ThreadPool


def a_worker(pool=None, autoscaler=None):
    """As Celery's commands see it."""
    sizes = []
    consumer = SimpleNamespace(
        pool=pool,
        controller=SimpleNamespace(autoscaler=autoscaler),
        _update_prefetch_count=sizes.append,
    )
    return SimpleNamespace(consumer=consumer, app=SimpleNamespace(conf=SimpleNamespace(worker_pool_restarts=False)))  # fmt: skip


def test_flowers_buttons_change_the_number_of_threads():
    pool = ThreadPool(2)
    try:
        assert "ok" in Panel.data["pool_grow"](a_worker(pool), n=3)
        assert pool.num_processes == 5
        assert "ok" in Panel.data["pool_shrink"](a_worker(pool), n=4)
        assert pool.num_processes == 1
        assert "ok" in Panel.data["pool_shrink"](a_worker(pool), n=4)
        assert pool.num_processes == 1
    finally:
        pool.on_stop()


@pytest.mark.parametrize(
    ("command", "arguments", "word"),
    [
        ("pool_grow", {"n": 1}, "one place"),
        ("pool_shrink", {"n": 1}, "one place"),
        ("autoscale", {"max": 4, "min": 1}, "Autoscale not enabled"),
        ("pool_restart", {}, "Pool restarts not enabled"),
    ],
)
def test_a_wish_that_can_not_be_fulfilled_is_answered_with_a_word(command, arguments, word):
    state = a_worker(solo.TaskPool(1))
    assert word in Panel.data[command](state, **arguments)["error"]
