"""Ids, and who attends to a file."""

from __future__ import annotations

from typing import NewType
from uuid import UUID

BatchId = NewType("BatchId", UUID)
FileId = NewType("FileId", UUID)
UploadId = NewType("UploadId", UUID)
DialogId = NewType("DialogId", UUID)
LeaseToken = NewType("LeaseToken", UUID)
Crew = NewType("Crew", str)
"""Who attends to a file: the workers of a profile (`fleet`), or one embedded run (`run_crew`)."""
RUN_PREFIX = "run:"


def fleet(profile: str) -> Crew:
    """The crew of all distributed workers, for the files of one profile."""
    return Crew(profile)


def run_crew(batch: BatchId) -> Crew:
    """The crew of one embedded `run`: it alone touches the files of its batch."""
    return Crew(f"{RUN_PREFIX}{batch}")


def is_run(crew: Crew) -> bool:
    """Whether the crew is an embedded run, which gives up where a fleet would wait."""
    return crew.startswith(RUN_PREFIX)
