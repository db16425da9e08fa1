"""Log events and metrics: fixed names, ids and counts, never contents, arguments or headers."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from worker.core.model.fleet import Overview
from worker.errors import UsageError
from worker.ports.telemetry import CounterName, EventName, HistogramName, SpanName
from worker.telemetry.gauges import DatabaseGauges

REGISTRY = CollectorRegistry()

_COUNTERS: dict[str, Counter] = {
    "chatflow_ingest_calls_total": Counter(
        "chatflow_ingest_calls_total",
        "Calls to the service by outcome",
        ["profile", "channel", "outcome"],
        registry=REGISTRY,
    ),
    "chatflow_ingest_dialog_noise_total": Counter(
        "chatflow_ingest_dialog_noise_total",
        "Messages in dialogs that were no frames, and were skipped",
        ["profile"],
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
    "chatflow_ingest_results_reused_total": Counter(
        "chatflow_ingest_results_reused_total",
        "Files that were given the result of the same bytes, and not uploaded",
        ["profile"],
        registry=REGISTRY,
    ),
    "chatflow_ingest_retries_total": Counter(
        "chatflow_ingest_retries_total",
        "Files that are tried again, uploaded or asked about, by what went wrong",
        ["profile", "cause"],
        registry=REGISTRY,
    ),
    "chatflow_ingest_messages_refused_total": Counter(
        "chatflow_ingest_messages_refused_total",
        "Messages that no worker can do anything with, by the part that is at fault",
        ["part"],
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
    "chatflow_ingest_lag_seconds": Histogram(
        "chatflow_ingest_lag_seconds",
        "From the last look that found a file not ready to the one that found it ready",
        ["profile"],
        buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 300),
        registry=REGISTRY,
    ),
}

_WARNINGS = (
    "credentials_refused",
    "dialog_failed",
    "dialog_noise",
    "files_cancelled",
    "files_failed",
    "breaker_opened",
    "message_refused",
    "notification_dead",
    "notification_failed",
    "profile_frozen",
    "profile_paused",
    "redirected",
    "schedule_failed",
    "step_failed",
    "store_unavailable",
    "take_away_failed",
    "tracing_off",
    "unknown_status",
    "worker_lost",
    "worker_stuck",
    "upload_unknown",
)
_LEVELS: dict[str, int] = dict.fromkeys(_WARNINGS, logging.WARNING) | {
    "freeze_extended": logging.DEBUG
}
"""The level of each event that is not told at INFO."""


_LOGGER = logging.getLogger("worker")


class LogTelemetry:
    """Events to the log, counts and durations to Prometheus (see `ports.telemetry.Telemetry`)."""

    def __init__(self) -> None:
        self._log = structlog.stdlib.get_logger(_LOGGER.name)

    def event(self, name: EventName, **fields: object) -> None:
        """Log one event."""
        level = _LEVELS.get(name, logging.INFO)
        if _LOGGER.isEnabledFor(level):  # asked first: most lines of a run are not wanted
            self._log.log(level, name, **fields)

    def count(self, metric: CounterName, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        _counter(metric, *labels.items()).inc(amount)

    def observe(self, metric: HistogramName, seconds: float, **labels: str) -> None:
        """Note one duration."""
        _histogram(metric, *labels.items()).observe(seconds)

    # Traces are told by `tracing.TracedTelemetry`, where they are wanted.

    def span(
        self, name: SpanName, file: UUID, seconds: float, error: str | None = None, **facts: object
    ) -> None:
        """Nothing: nobody asked for traces."""

    def whole(
        self,
        whose: UUID,
        since: float,
        batch: UUID | None = None,
        error: str | None = None,
        **facts: object,
    ) -> None:
        """Nothing, as `span`."""

    def handed_in(self, batch: UUID, carrier: Mapping[str, str]) -> None:
        """Nothing, as `span`."""

    def close(self) -> None:
        """Nothing is held back."""


def telling(exporters: Sequence[str]) -> LogTelemetry:
    """Logs and metrics, and traces to these exporters if any are named (`settings.tracing`).

    Tracing that can't be had is said once and done without: files matter more.
    """
    if not exporters:
        return LogTelemetry()
    try:
        from worker.telemetry.tracing import TracedTelemetry, exporter

        return TracedTelemetry([exporter(name) for name in exporters])
    except ImportError:
        reason = "OpenTelemetry is not installed: pip install 'chatflow-ingest[otel]'"
    except Exception as error:  # noqa: BLE001 - exporters of other packages raise what they like
        reason = f"{type(error).__name__}: {error}"[:500]
    plain = LogTelemetry()
    plain.event("tracing_off", reason=reason)
    return plain


# Looking a metric up by its labels costs more than counting; there are few of them.


@cache
def _counter(metric: CounterName, *labels: tuple[str, str]) -> Counter:
    return _COUNTERS[metric].labels(**dict(labels))


@cache
def _histogram(metric: HistogramName, *labels: tuple[str, str]) -> Histogram:
    return _HISTOGRAMS[metric].labels(**dict(labels))


def configure_logging(level: str | int, style: str, file: str | None = None) -> None:
    """Send this project's and Celery's logs to stderr, or to a file.

    Args:
        level: DEBUG, INFO, WARNING or ERROR, or their number.
        style: "json", "text", or "auto" for text on a terminal and JSON lines elsewhere; in one of
            them the whole stream is kept, warnings of Python's and of libraries too.
        file: written to instead of stderr, and opened anew when it was moved away.
    """
    text = style == "text" or (style == "auto" and file is None and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = (
        logging.StreamHandler(sys.stderr)
        if file is None
        else logging.handlers.WatchedFileHandler(file, encoding="utf-8")
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(text=text),
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
    logging.captureWarnings(True)
    for name in _CHATTY:
        logging.getLogger(name).filters[:] = [_as_detail]


_CHATTY = ("celery.worker.strategy", "celery.app.trace", "celery.beat")
"""Loggers of Celery that say at INFO what happens several times a second: a task was received,
has succeeded, is sent by Beat. Here a task is a wake-up, and tells nobody anything."""


def _as_detail(record: logging.LogRecord) -> bool:
    """Take such a line for DEBUG; whether it is wanted at all."""
    if record.levelno == logging.INFO and str(record.msg).startswith(_CHATTER):
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return logging.getLogger().isEnabledFor(record.levelno)


_CHATTER = ("Task ", "Scheduler: Sending")


def _renderers(*, text: bool) -> list[structlog.typing.Processor]:
    if not text:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=_may_colour(), exception_formatter=plain)]


def _may_colour() -> bool:
    """Whether stderr takes colours: a terminal that is no dumb one, and nobody has said no."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.stderr.isatty()


def serve_gauges(host: str, port: int, overview: Callable[[], Overview]) -> int:
    """Show only what the database knows at http://HOST:PORT/metrics; returns the port."""
    registry = CollectorRegistry()
    registry.register(DatabaseGauges(overview))
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise UsageError(f"can't listen on {host}:{port}: {error.strerror}") from error
    return int(server.server_port)


def serve_metrics(where: tuple[str, int], overview: Callable[[], Overview]) -> None:
    """Show the metrics at http://HOST:PORT/metrics, from a thread of its own.

    Args:
        where: the address to listen on and the port.
        overview: tells what waits in the database.
    """
    start_http_server(where[1], addr=where[0], registry=REGISTRY)
    REGISTRY.register(DatabaseGauges(overview))  # once, though a port in use is tried again
