"""Distributed traces: one a file, whoever works on it; nothing of it where nobody asked."""

from __future__ import annotations

import subprocess
import sys
from uuid import uuid4, uuid5

import anyio
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tests.fakes import failed, on_the_way, parsed
from tests.steps.scene import Scene
from tests.steps.test_poll import poll_on
from tests.steps.test_sweep import sweep_once
from worker.core.lifecycle import FileState
from worker.settings.tracing import trace_exporters
from worker.telemetry import LogTelemetry, telling
from worker.telemetry.tracing import TracedTelemetry, trace_of

pytestmark = pytest.mark.anyio

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Process:
    """A process that traces, and what it has given out by its end."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.telemetry = TracedTelemetry([self.exporter])

    @property
    def spans(self):
        self.telemetry.close()
        return self.exporter.get_finished_spans()


def ids(span):
    return span.context.trace_id, span.context.span_id


async def test_the_pieces_that_two_processes_tell_are_one_trace(scene: Scene) -> None:
    one, other = Process(), Process()
    scene.events = one.telemetry
    scene.service.will_say("a.wav", on_the_way(4), parsed("the text", 5))
    batch = await scene.submitted("a.wav")
    scene.events = other.telemetry
    async with scene.worker() as worker:
        await poll_on(scene, worker)
    sweep_once(scene, telemetry=other.telemetry)
    row = scene.row("a.wav")
    first, second = one.spans, other.spans
    pieces = [span for span in (*first, *second) if span.parent is not None]
    (whole,) = [span for span in second if span.name == "file"]
    (end,) = [span for span in second if span.name == "batch"]

    assert [span.name for span in first] == ["dialog", "upload", "record"]
    assert [span.name for span in second if span in pieces] == [
        "status", "record", "status", "record",
    ]  # fmt: skip
    assert ids(whole) == trace_of(row.id)
    assert {(span.context.trace_id, span.parent.span_id) for span in pieces} == {ids(whole)}
    assert whole.start_time == round(row.created_at.timestamp() * 1e9)
    assert whole.attributes["chatflow_ingest.state"] == "succeeded"
    assert ids(end) == trace_of(batch)
    assert [(link.context.trace_id, link.context.span_id) for link in whole.links] == [ids(end)]
    assert all(span.start_time <= span.end_time for span in pieces)
    assert "a.wav" not in "".join(span.to_json() for span in (*first, *second))


async def test_what_went_wrong_is_in_the_trace(scene: Scene) -> None:
    process = Process()
    scene.events = process.telemetry
    scene.service.meet("open", "broken")
    scene.service.meet("upload", "lost")
    scene.service.meet("ask", "broken")
    for _ in ("the one that is lost", "the one that counts"):
        scene.service.will_say("a.wav", failed(6))
    scene.hand_in("a.wav")
    async with scene.worker() as worker:
        while scene.states()["a.wav"] is not FileState.FAILED:
            await anyio.sleep(max(0.0, scene.due_in("a.wav")))
            await worker.submit()
            await worker.poll()
    wrong = {
        (span.name, span.attributes["error.type"])
        for span in process.spans
        if span.status.status_code is StatusCode.ERROR
    }

    assert wrong == {
        ("dialog", "service_fault"), ("upload", "upload_unknown"), ("status", "service_fault"),
        ("file", "parse_failed"),
    }  # fmt: skip


def test_a_sender_with_a_trace_sees_its_batch_arrive() -> None:
    process, batch = Process(), uuid4()
    process.telemetry.handed_in(batch, {"traceparent": TRACEPARENT})
    process.telemetry.handed_in(batch, {})
    process.telemetry.handed_in(batch, {"traceparent": "nonsense"})
    (span,) = process.spans

    assert f"{span.context.trace_id:032x}" in TRACEPARENT
    assert f"{span.parent.span_id:016x}" in TRACEPARENT
    assert [link.context.trace_id for link in span.links] == [trace_of(batch)[0]]


def test_a_sampler_that_goes_by_the_id_keeps_its_share(monkeypatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    process = Process()
    files = [uuid5(uuid4(), str(number)) for number in range(400)]
    for file in files:
        process.telemetry.span("status", file, 0.1)
        process.telemetry.whole(file, 1.0, batch=file)
    kept = process.spans
    by_trace = {span.context.trace_id: 0 for span in kept}
    for span in kept:
        by_trace[span.context.trace_id] += 1

    assert 120 < len(by_trace) < 280
    assert set(by_trace.values()) == {2}  # a trace is kept whole, or not at all


def test_the_service_has_its_name_unless_it_is_given_another(monkeypatch) -> None:
    def named():
        process = Process()
        process.telemetry.span("status", uuid4(), 0.1)
        return process.spans[0].resource.attributes["service.name"]

    assert named() == "chatflow-ingest"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly")
    assert named() == "nightly"


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, ()),
        ({"OTEL_SERVICE_NAME": "x"}, ()),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, ()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, ("otlp_proto_http",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, ("otlp_proto_http",)),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ("otlp_proto_http", "console")),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ("otlp_proto_grpc",)),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, ()),
    ],
)  # fmt: skip
def test_the_standard_variables_say_whether_there_are_traces(environment, exporters) -> None:
    assert trace_exporters(environment) == exporters


def test_traces_go_where_they_are_asked_to_and_can_be_done_without(monkeypatch) -> None:
    over_http = telling(["otlp_proto_http"])
    over_http.close()
    assert isinstance(over_http, TracedTelemetry)

    said = []
    monkeypatch.setattr(
        LogTelemetry, "event", lambda _, name, **fields: said.append((name, fields))
    )
    assert type(telling(["nowhere"])) is LogTelemetry
    ((name, fields),) = said
    assert name == "tracing_off"
    assert "nowhere" in fields["reason"]


def test_nothing_is_imported_for_traces_that_nobody_wants() -> None:
    code = (
        "import sys, worker.tasks, worker.embedded\nfrom worker.telemetry import telling\n"
        "from worker.settings.tracing import trace_exporters\ntelling(trace_exporters({}))\n"
        "print(*(name for name in sys.modules if name.startswith('opentelemetry')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""
