"""What a soak measures as it goes on, and whether any of it grows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at everything that must stay flat while work goes on.

    Attributes:
        seconds: since the soak began.
        memory: resident MB of the worker that is never killed.
        handles: its open files and sockets.
        threads: its threads.
        connections: to the database, of all processes.
        messages: that wait in the broker's queues.
        open_files: files of ours that are not terminal.
        late: seconds since the longest due file became due.
        done: files that have ended.
    """

    seconds: float
    memory: float
    handles: int
    threads: int
    connections: int
    messages: int
    open_files: int
    late: float
    done: int


SLACK = {
    "memory": 12.0,
    "handles": 10,
    "threads": 4,
    "connections": 10,
    "messages": 20,
    "late": 5.0,
}
"""By how much the end may lie above the beginning, besides a tenth, without being called growth."""


def growths(samples: Sequence[Sample]) -> list[str]:
    """What is higher in the last third than in the second: the first is for warming up."""
    third = len(samples) // 3
    if third < 3:
        return ["too few samples to tell whether anything grows"]
    middle, end = samples[third : 2 * third], samples[2 * third :]
    found = []
    for name, slack in SLACK.items():
        before = median(getattr(sample, name) for sample in middle)
        after = median(getattr(sample, name) for sample in end)
        if after > 1.1 * before + slack:
            found.append(f"{name} grew from {before:g} to {after:g}")
    return found


def write(samples: Sequence[Sample], path: Path) -> None:
    """Keep the figures as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, [field.name for field in fields(Sample)])
        rows.writeheader()
        rows.writerows(asdict(sample) for sample in samples)


def summary(samples: Sequence[Sample]) -> str:
    """Median and highest of each figure, a line each."""
    lines = []
    for name in SLACK:
        values = [getattr(sample, name) for sample in samples]
        lines.append(f"{name}: median {median(values):g}, highest {max(values):g}")
    return "\n".join(lines)
