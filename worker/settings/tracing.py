"""Whether distributed traces are wanted, by OpenTelemetry's own variables.

Where they go, how many and under which name is read by its SDK itself. Only the environment
counts, not `.env`: that is all that the SDK looks at.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_WANTED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def trace_exporters(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The exporters that traces go to, by the names that their packages register; none: no traces.

    Off unless `OTEL_TRACES_EXPORTER` names one, or an OTLP endpoint is set.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    named = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if not named and any(environment.get(name, "").strip() for name in _WANTED_BY):
        named = "otlp"
    names = (name.strip() for name in named.split(","))
    return tuple(
        _otlp(environment) if name == "otlp" else name for name in names if name not in {"", "none"}
    )


def _otlp(environment: Mapping[str, str]) -> str:
    protocol = next(filter(None, map(environment.get, _PROTOCOLS)), "http/protobuf")
    return "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
