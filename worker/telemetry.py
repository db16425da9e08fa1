"""Log events and metrics: fixed names, ids and counts, never contents, arguments or headers."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from worker.ports import CounterName, EventName, HistogramName

REGISTRY = CollectorRegistry()

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
    "chatflow_ingest_files_total": Counter(
        "chatflow_ingest_files_total",
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
        "service_unreachable",
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
        _COUNTERS[metric].labels(**labels).inc(amount)

    def observe(self, metric: HistogramName, seconds: float, **labels: str) -> None:
        """Note one duration."""
        _HISTOGRAMS[metric].labels(**labels).observe(seconds)


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


def serve_metrics(port: int) -> None:
    """Show the metrics at http://127.0.0.1:PORT/metrics, from a thread of its own."""
    start_http_server(port, registry=REGISTRY)
