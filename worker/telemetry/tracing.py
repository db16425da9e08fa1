"""Distributed traces by OpenTelemetry: imported only where they are wanted.

A file's trace has an id that is computed from the file's, so that whichever process works on it
tells of the same trace, also after a crash, and no row or message carries anything for it. The
bits are those of a digest: samplers that go by the id see even chances.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import entry_points
from threading import Thread, local
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.ports.telemetry import SpanName
from worker.telemetry import LogTelemetry

SERVICE = "chatflow-ingest"
"""The service's name unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say otherwise."""

CLOSE_WITHIN = 3.0
"""Seconds for the last spans to be given out: a worker has to leave, collector or not."""

_BILLION = 1_000_000_000


def exporter(name: str) -> SpanExporter:
    """The exporter that an installed package has registered under this name.

    Raises:
        LookupError: there is none.
    """
    found = entry_points(group="opentelemetry_traces_exporter", name=name)
    if not found:
        raise LookupError(
            f"no exporter {name}: pip install 'chatflow-ingest[otel]', or its package"
        )
    made: SpanExporter = next(iter(found)).load()()
    return made


def trace_of(whose: UUID) -> tuple[int, int]:
    """The ids of a file's or a batch's trace and of the span that is its whole."""
    digest = sha256(whose.bytes).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])


class _Ids(RandomIdGenerator):
    """Random ids, but for the spans whose ids are computed."""

    def __init__(self) -> None:
        self._next = local()

    def use_once(self, trace: int, span: int) -> None:
        """Give these to the next span of this thread, which has no parent."""
        self._next.ids = [span, trace]

    def generate_trace_id(self) -> int:
        return self._chosen() or super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self._chosen() or super().generate_span_id()

    def _chosen(self) -> int:
        left = getattr(self._next, "ids", None)
        return left.pop() if left else 0


class TracedTelemetry(LogTelemetry):
    """Logs and metrics, and traces (see `ports.telemetry.Tracing`)."""

    def __init__(self, exporters: Sequence[SpanExporter]) -> None:
        super().__init__()
        self._ids = _Ids()
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
        # Closed by `close`, which does not wait for ever.
        self._provider = TracerProvider(
            resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        for each in exporters:
            self._provider.add_span_processor(BatchSpanProcessor(each))
        self._tracer = self._provider.get_tracer(SERVICE)

    def span(
        self, name: SpanName, file: UUID, seconds: float, error: str | None = None, **facts: object
    ) -> None:
        """Tell a piece of a file's way that has ended just now."""
        context = self._context(file)
        if not context.trace_flags.sampled:
            return
        ended = time.time_ns()
        span = self._tracer.start_span(
            name,
            set_span_in_context(NonRecordingSpan(context), Context()),
            SpanKind.INTERNAL if name == "record" else SpanKind.CLIENT,
            _attributes(facts),
            start_time=ended - round(seconds * _BILLION),
        )
        _end(span, error, ended)

    def whole(
        self,
        whose: UUID,
        since: float,
        batch: UUID | None = None,
        error: str | None = None,
        **facts: object,
    ) -> None:
        """Tell that a file or a batch has ended just now."""
        trace, span_id = trace_of(whose)
        if batch is None:
            facts["batch_id"] = whose
        else:
            facts |= {"file_id": whose, "batch_id": batch}
        self._ids.use_once(trace, span_id)
        span = self._tracer.start_span(
            "batch" if batch is None else "file",
            Context(),
            attributes=_attributes(facts),
            links=[] if batch is None else [Link(self._context(batch))],
            start_time=round(since * _BILLION),
        )
        _end(span, error, time.time_ns())

    def handed_in(self, batch: UUID, carrier: Mapping[str, str]) -> None:
        """Tell in the trace of whoever handed a batch in that it has arrived."""
        upstream = TraceContextTextMapPropagator().extract(dict(carrier), Context())
        if not get_current_span(upstream).get_span_context().is_valid:
            return
        self._tracer.start_span(
            "hand in",
            upstream,
            SpanKind.CONSUMER,
            _attributes({"batch_id": batch}),
            links=[Link(self._context(batch))],
        ).end()

    def close(self) -> None:
        """Give out what is still held back."""
        closing = Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        closing.start()
        closing.join(CLOSE_WITHIN)

    def _context(self, whose: UUID) -> SpanContext:
        """Where the pieces of a trace belong; every process decides alike whether it is kept."""
        trace, span = trace_of(whose)
        decision = self._provider.sampler.should_sample(None, trace, "file").decision
        kept = decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if kept else TraceFlags.DEFAULT)
        return SpanContext(trace, span, is_remote=True, trace_flags=flags)


def _attributes(facts: Mapping[str, object]) -> dict[str, str | int | float | bool]:
    return {
        f"chatflow_ingest.{name}": fact if isinstance(fact, int | float) else str(fact)
        for name, fact in facts.items()
        if fact is not None
    }


def _end(span: Span, error: str | None, ended: int) -> None:
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(StatusCode.ERROR)
    span.end(ended)
