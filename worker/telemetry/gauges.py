"""Gauges that outlive workers: what the database knows, read when somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.core.model.fleet import Overview
from worker.errors import StoreUnavailable

GAUGES_EVERY = 10.0
GAUGES_SHARE = 20.0
"""Seconds for which the numbers are good, and how many times longer than reading them took."""

Rows = Iterable[tuple[tuple[str, ...], float]]
"""The values of a gauge's labels, and its own."""


class DatabaseGauges(Collector):
    """What waits, read from the database, but not more often than needed.

    Every worker shows the same numbers: take the maximum over them, not the sum.
    """

    def __init__(self, overview: Callable[[], Overview]) -> None:
        self._overview = overview
        self._kept: Overview | None = None
        self._good_until = 0.0

    def collect(self) -> Iterator[Metric]:
        """The gauges; none while the database is away."""
        began = time.monotonic()
        if self._kept is None or began > self._good_until:
            try:
                self._kept = self._overview()
            except StoreUnavailable:
                return
            took = time.monotonic() - began
            self._good_until = began + max(GAUGES_EVERY, GAUGES_SHARE * took)
        yield from (*_work(self._kept), *_outbox(self._kept), *_tallies(self._kept))


def _gauge(name: str, words: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    found = GaugeMetricFamily(name, words, labels=labels)
    for values, number in rows:
        found.add_metric(values, number)
    return found


def _work(now: Overview) -> Iterator[Metric]:
    yield _gauge(
        "chatflow_ingest_files",
        "Open files of the workers",
        ("profile", "state"),
        now.open_files.items(),
    )
    yield _gauge(
        "chatflow_ingest_oldest_due_seconds",
        "How long the longest due file has been due",
        ("profile", "lane"),
        now.oldest_due.items(),
    )
    yield _gauge(
        "chatflow_ingest_profile_state",
        "1 for the state that a profile is in",
        ("profile", "state"),
        (
            ((profile, each), float(each == current))
            for profile, current in now.profiles.items()
            for each in ("open", "frozen", "paused")
        ),
    )
    yield _gauge(
        "chatflow_ingest_breaker_open",
        "Failures in a row of a category whose other files wait for that",
        ("profile", "category"),
        now.breakers.items(),
    )
    yield _gauge(
        "chatflow_ingest_workers",
        "Processes of the fleet that said lately that they are at work",
        (),
        [((), now.workers)],
    )


def _outbox(now: Overview) -> Iterator[Metric]:
    yield _gauge(
        "chatflow_ingest_outbox_pending",
        "Notifications that wait for delivery",
        (),
        [((), now.notifications)],
    )
    yield _gauge(
        "chatflow_ingest_outbox_dead",
        "Notifications that could not be delivered",
        (),
        [((), now.notifications_dead)],
    )


def _tallies(now: Overview) -> Iterator[Metric]:
    yield _gauge(
        "chatflow_ingest_time_to_ready_seconds",
        "From acceptance to the result, as remembered: quantile 0.5 and 0.95 of a category",
        ("profile", "category", "quantile"),
        now.ready_times.items(),
    )
    yield _gauge(
        "chatflow_ingest_unknown_uploads",
        "Uploads with a lost reply in batches begun within a day, whoever made them",
        ("profile",),
        (((profile,), number) for profile, number in now.unknown_uploads.items()),
    )
    yield _gauge(
        "chatflow_ingest_retrying_files",
        "Open files that are tried again, by what went wrong last",
        ("profile", "cause"),
        now.retrying.items(),
    )
    yield _gauge(
        "chatflow_ingest_schedule_firings",
        "Firings of a schedule; late are those that came five minutes after their time or more",
        ("schedule", "when"),
        now.firings.items(),
    )
    if now.ticked_ago is not None:
        yield _gauge(
            "chatflow_ingest_schedule_tick_age_seconds",
            "Since the schedules were looked at last; it grows when Beat or the workers are away",
            (),
            [((), now.ticked_ago)],
        )
