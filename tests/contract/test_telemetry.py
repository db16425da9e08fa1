"""The fake telemetry and the real one: the same names, labels and sums."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.fakes import Events
from worker.ports.telemetry import Telemetry
from worker.telemetry import REGISTRY, LogTelemetry


class Book:
    """A telemetry, and what it has counted under labels that no other test has."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.telemetry: Any = telemetry
        self.profile = str(uuid4())

    def counted(self, metric: str, **labels: str) -> float:
        labels = {"profile": self.profile} | labels
        if isinstance(self.telemetry, Events):
            return self.telemetry.counts[metric, *labels.values()]
        return REGISTRY.get_sample_value(metric, labels) or 0.0


@pytest.fixture(params=[Events, LogTelemetry])
def book(request: pytest.FixtureRequest) -> Book:
    return Book(request.param())


def test_what_is_counted_adds_up_by_its_labels(book: Book) -> None:
    uploads = "chatflow_ingest_uploads_total"
    for outcome in ("accepted", "accepted", "upload_refused"):
        book.telemetry.count(uploads, profile=book.profile, outcome=outcome)
    book.telemetry.count(uploads, 3, profile=book.profile, outcome="accepted")
    assert book.counted(uploads, outcome="accepted") == 5
    assert book.counted(uploads, outcome="upload_refused") == 1


def test_a_metric_that_was_never_declared_is_a_mistake(book: Book) -> None:
    with pytest.raises(LookupError):
        book.telemetry.count("chatflow_ingest_hopes_total", profile=book.profile)
    with pytest.raises(LookupError):
        book.telemetry.observe("chatflow_ingest_hope_seconds", 1.0, profile=book.profile)


@pytest.mark.parametrize("labels", [{}, {"outcome": "ok"}, {"outcome": "ok", "mood": "fine"}])
def test_labels_other_than_the_declared_ones_are_a_mistake(book: Book, labels) -> None:
    with pytest.raises(ValueError, match="label"):
        book.telemetry.count("chatflow_ingest_calls_total", profile=book.profile, **labels)


def test_an_event_takes_fields_of_any_kind(book: Book) -> None:
    book.telemetry.event("step_failed", step="submit", reason=None, seconds=1.5, ids=[uuid4()])


def test_a_duration_is_one_observation(book: Book) -> None:
    book.telemetry.observe(
        "chatflow_ingest_call_seconds", 0.3, profile=book.profile, channel="upload"
    )
    count = "chatflow_ingest_call_seconds"
    real = isinstance(book.telemetry, LogTelemetry)
    assert book.counted(f"{count}_count" if real else count, channel="upload") == 1
