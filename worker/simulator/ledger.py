"""The ledger: what was sent and what was answered, small enough for a million files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from statistics import quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.simulator.plans import StatusPlan

FIELDS = (
    "mode", "flow_uuid", "tenant_name", "extra_params", "file_format", "parse_model",
    "parse_prompt", "inputs", "image_source_param",
)  # fmt: skip
"""The form's fields that the ledger keeps: all but the credentials and the file itself."""

_VARIABLE = FIELDS.index("extra_params")


@dataclass(slots=True)
class ReceivedUpload:
    """One upload whose form was read. Times are POSIX seconds.

    `id` is None when it was refused, and `refusal` says why. `answered` is False when the reply
    of an upload that was taken went lost on purpose. `served_*` tell the first settled status
    (5 to 8) that a status call brought, and when.
    """

    id: int | None
    file_name: str
    size: int | None
    sha256: str | None
    fields: tuple[str | None, ...]
    at: float
    plan: StatusPlan | None = None
    scale: float = 0.0
    refusal: str | None = None
    answered: bool = True
    status_calls: int = 0
    last_status: int | None = None
    served_status: int | None = None
    served_at: float | None = None

    @property
    def ready_at(self) -> float | None:
        """When the first settled status began or will begin."""
        factor = None if self.plan is None else self.plan.ready_at
        return None if factor is None else self.at + factor * self.scale

    def note(self, status: int, now: float, *, settled: bool) -> None:
        """A status call was answered with this status, which may be the file's last."""
        self.last_status = status
        if self.served_at is None and settled:
            self.served_status, self.served_at = status, now

    def entry(self, *, contents: bool) -> dict[str, Any]:
        """The upload as the ledger shows it."""
        entry: dict[str, Any] = {
            "id": self.id,
            "taken": self.id is not None,
            "refusal": self.refusal,
            "answered": self.answered,
            "file_name": self.file_name,
            "size": self.size,
            "sha256": self.sha256,
            "fields": {
                name: value
                for name, value in zip(FIELDS, self.fields, strict=True)
                if value is not None
            },
            "at": self.at,
            "ready_at": self.ready_at,
            "status_calls": self.status_calls,
            "last_status": self.last_status,
            "first_terminal_status": self.served_status,
            "first_terminal_at": self.served_at,
        }
        return entry | (self._contents() if contents else {})

    def _contents(self) -> dict[str, Any]:
        if self.plan is None or self.served_status is None:
            return {"parse_content": None, "llm_content": None}
        parse, llm = self.plan.contents(self.served_status, self.file_name)
        return {"parse_content": parse, "llm_content": llm}


@dataclass(slots=True)
class Ledger:
    """Everything that was received since the start or the last reset."""

    started_at: float
    uploads: list[ReceivedUpload] = field(default_factory=list)
    by_id: dict[int, ReceivedUpload] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    statuses_served: Counter[int] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)
    uploads_in_flight: int = 0
    uploads_in_flight_max: int = 0
    connections_open: int = 0
    connections_open_max: int = 0
    first_upload_at: float | None = None
    last_taken_at: float | None = None
    _same_fields: dict[tuple[str | None, ...], tuple[str | None, ...]] = field(default_factory=dict)

    def record(self, upload: ReceivedUpload) -> None:
        """Write an upload down; equal form fields are kept once."""
        upload.fields = self._same_fields.setdefault(upload.fields, upload.fields)
        self.uploads.append(upload)
        if upload.id is None:
            self.counts["uploads_refused"] += 1
            return
        self.by_id[upload.id] = upload
        self.used[upload.fields[_VARIABLE] or ""] += 1
        self.last_taken_at = upload.at
        if self.first_upload_at is None:
            self.first_upload_at = upload.at

    def has_place(self, variable: str) -> bool:
        """Whether dialogs have offered more places for a variable than uploads have taken."""
        return self.used[variable] < self.places[variable]

    def whole(self, *, contents: bool = True) -> dict[str, Any]:
        """The ledger as one JSON object."""
        return {
            "uploads": [upload.entry(contents=contents) for upload in self.uploads],
            "dialogs": self.counts["dialogs"],
            "connections": self.counts["connections"],
            "status_calls": self.counts["status_calls"],
        }

    def lines(self, *, contents: bool = True) -> Iterator[bytes]:
        """The uploads as JSON lines, some hundred at a time."""
        for start in range(0, len(self.uploads), 200):
            rows = self.uploads[start : start + 200]
            yield "".join(
                json.dumps(upload.entry(contents=contents)) + "\n" for upload in rows
            ).encode()

    def summary(self, now: float) -> dict[str, Any]:
        """Counts and times at a glance. Lags are from ready to the status call that told so."""
        taken = self.by_id.values()
        ready = [at for upload in taken if (at := upload.ready_at) is not None]
        lags = [
            max(0.0, upload.served_at - upload.ready_at)
            for upload in taken
            if upload.served_at is not None and upload.ready_at is not None
        ]
        return {
            "seconds": now - self.started_at,
            "uploads_received": len(self.uploads),
            "uploads_taken": len(self.by_id),
            "uploads_refused": self.counts["uploads_refused"],
            "uploads_broken_off": self.counts["uploads_broken_off"],
            "uploads_throttled": self.counts["uploads_throttled"],
            "replies_lost": sum(not upload.answered for upload in taken),
            "doubles": self.doubles(),
            "uploads_in_flight": self.uploads_in_flight,
            "uploads_in_flight_max": self.uploads_in_flight_max,
            "first_upload_at": self.first_upload_at,
            "last_taken_at": self.last_taken_at,
            "connections": self.counts["connections"],
            "connections_open_max": self.connections_open_max,
            "dialogs": self.counts["dialogs"],
            "upload_nodes": self.counts["upload_nodes"],
            "heartbeats": self.counts["heartbeats"],
            "places": self._places(),
            "status_calls": self.counts["status_calls"],
            "status_calls_throttled": self.counts["status_calls_throttled"],
            "status_calls_unknown": self.counts["status_calls_unknown"],
            "dialogs_throttled": self.counts["dialogs_throttled"],
            "polls_per_file": _ratio(sum(upload.status_calls for upload in taken), len(taken)),
            "statuses_served": {str(key): n for key, n in sorted(self.statuses_served.items())},
            "credentials_refused": self.counts["credentials_refused"],
            "first_ready_at": min(ready, default=None),
            "last_ready_at": max(ready, default=None),
            "terminal_served": len(lags),
            "lag": _spread(lags),
        }

    def doubles(self) -> int:
        """How many uploads were taken of what had been taken already (same name and bytes)."""
        seen = Counter(
            (upload.file_name, upload.sha256)
            for upload in self.by_id.values()
            if upload.sha256 is not None
        )
        return sum(n - 1 for n in seen.values())

    def _places(self) -> dict[str, dict[str, int]]:
        return {
            variable: {"offered": self.places[variable], "used": self.used[variable]}
            for variable in sorted({*self.places, *self.used})
        }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else values * 99
    return {
        "mean": sum(values) / len(values),
        "p50": cuts[49],
        "p95": cuts[94],
        "max": max(values),
    }
