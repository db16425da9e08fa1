"""Log events and metrics: fixed names, ids and counts, never contents, arguments or headers."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.core.model import Overview
from worker.errors import StoreUnavailable
from worker.ports import CounterName, EventName, HistogramName

REGISTRY = CollectorRegistry()

GAUGES_EVERY = 10.0
"""Seconds for which the database's numbers are good."""

_COUNTERS: dict[str, Counter] = {
    "chatflow_ingest_calls_total": Counter(
        "chatflow_ingest_calls_total",
        "Calls to the service by outcome",
        ["profile", "channel", "outcome"],
        registry=REGISTRY,
    ),
    "chatflow_ingest_uploads_total": Counter(
        "chatflow_ingest_uploads_total",
        "Uploads by outcome: accepted, upload_refused, upload_unknown, ...",
        ["profile", "outcome"],
        registry=REGISTRY,
    ),
    "chatflow_ingest_files_ended_total": Counter(
        "chatflow_ingest_files_ended_total",
        "Files that reached a terminal state",
        ["profile", "state"],
        registry=REGISTRY,
    ),
}

_HISTOGRAMS: dict[str, Histogram] = {
    "chatflow_ingest_call_seconds": Histogram(
        "chatflow_ingest_call_seconds",
        "Duration of answered calls to the service",
        ["profile", "channel"],
        buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
        registry=REGISTRY,
    ),
}

_WARNINGS: frozenset[str] = frozenset(
    {
        "credentials_refused",
        "dialog_failed",
        "files_failed",
        "notification_dead",
        "notification_failed",
        "profile_frozen",
        "profile_paused",
        "schedule_failed",
        "step_failed",
        "store_unavailable",
        "take_away_failed",
        "unknown_status",
        "upload_unknown",
    }
)


class LogTelemetry:
    """Events to the log, counts and durations to Prometheus (see `ports.Telemetry`)."""

    def __init__(self) -> None:
        self._log = structlog.stdlib.get_logger("worker")

    def event(self, name: EventName, **fields: object) -> None:
        """Log one event."""
        level = logging.WARNING if name in _WARNINGS else logging.INFO
        self._log.log(level, name, **fields)

    def count(self, metric: CounterName, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        _counter(metric, *labels.items()).inc(amount)

    def observe(self, metric: HistogramName, seconds: float, **labels: str) -> None:
        """Note one duration."""
        _histogram(metric, *labels.items()).observe(seconds)


# Looking a metric up by its labels costs more than counting; there are few of them.


@cache
def _counter(metric: CounterName, *labels: tuple[str, str]) -> Counter:
    return _COUNTERS[metric].labels(**dict(labels))


@cache
def _histogram(metric: HistogramName, *labels: tuple[str, str]) -> Histogram:
    return _HISTOGRAMS[metric].labels(**dict(labels))


def configure_logging(level: str, style: str) -> None:
    """Send this project's and Celery's logs to stderr.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        style: "json", "text", or "auto" for text on a terminal and JSON lines elsewhere.
    """
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if text
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([] if text else [structlog.processors.format_exc_info]),
                renderer,
            ],
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


class DatabaseGauges(Collector):
    """What waits, read from the database when somebody looks, but not more often than needed.

    Every worker shows the same numbers: take the maximum over them, not the sum.
    """

    def __init__(self, overview: Callable[[], Overview]) -> None:
        self._overview = overview
        self._kept: Overview | None = None
        self._kept_at = 0.0

    def collect(self) -> Iterator[Metric]:
        """The gauges; none while the database is away."""
        if self._kept is None or time.monotonic() - self._kept_at > GAUGES_EVERY:
            try:
                self._kept, self._kept_at = self._overview(), time.monotonic()
            except StoreUnavailable:
                return
        yield from _gauges(self._kept)


def _gauges(now: Overview) -> Iterator[Metric]:
    files = GaugeMetricFamily(
        "chatflow_ingest_files", "Open files of the workers", labels=["profile", "state"]
    )
    for (profile, state), number in now.open_files.items():
        files.add_metric([profile, state], number)
    oldest = GaugeMetricFamily(
        "chatflow_ingest_oldest_due_seconds",
        "How long the longest due file has been due",
        labels=["profile", "lane"],
    )
    for (profile, lane), seconds in now.oldest_due.items():
        oldest.add_metric([profile, lane], seconds)
    states = GaugeMetricFamily(
        "chatflow_ingest_profile_state",
        "1 for the state that a profile is in",
        labels=["profile", "state"],
    )
    for profile, current in now.profiles.items():
        for each in ("open", "frozen", "paused"):
            states.add_metric([profile, each], float(each == current))
    outbox = GaugeMetricFamily(
        "chatflow_ingest_outbox_pending", "Notifications that wait for delivery"
    )
    outbox.add_metric([], now.notifications)
    yield from (files, oldest, states, outbox)


def serve_metrics(port: int, overview: Callable[[], Overview]) -> None:
    """Show the metrics at http://HOST:PORT/metrics on every interface, from a thread of its own.

    Args:
        overview: tells what waits in the database.
    """
    REGISTRY.register(DatabaseGauges(overview))
    start_http_server(port, registry=REGISTRY)
