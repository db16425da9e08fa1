"""What both demonstrations stand on: their own configuration, and how their files must end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from worker.core.lifecycle import FileState
from worker.core.model.stories import FileResult

EXPECTED: Mapping[str, FileState] = {
    "broken-recording.wav": FileState.FAILED,
    "floor-plan.xyz": FileState.REJECTED,
}
"""The samples that must not succeed; all the others must."""


def own_settings(folder: Path, url: str) -> dict[str, Any]:
    """The configuration of a demonstration, whatever the environment says."""
    return {
        "CHATFLOW_BASE_URL": url,
        "CHATFLOW_ROBOT_KEY": "demo-key",
        "CHATFLOW_ROBOT_TOKEN": "demo-token",
        "CHATFLOW_USERNAME": "demo",
        "CHATFLOW_SETTLE_AT": "parse",
        "CHATFLOW_FLOW_UUID": None,
        "CHATFLOW_CA_BUNDLE": None,
        "INGEST_DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
        "INGEST_BROKER_URL": "memory://",
        "INGEST_AUTO_MIGRATE": True,
        "INGEST_ROOTS": [str(folder)],
        "INGEST_PROFILES": None,
        "INGEST_SCHEDULES": None,
    }


def as_expected(results: Iterable[FileResult]) -> bool:
    """Whether every sample ended as it must."""
    ends = [result.state is EXPECTED.get(result.name, FileState.SUCCEEDED) for result in results]
    return bool(ends) and all(ends)
