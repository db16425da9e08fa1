"""`python -m tests.fuzz MINUTES`: every parser in turn, other examples each time; ends with counts.

Nothing is remembered from one run to the next: a find is printed, and belongs among the tests.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from hypothesis import HealthCheck, given, settings

from tests.fuzz.targets import TARGETS, examples

AT_A_TIME = 500


def main(minutes: float) -> int:
    until = time.monotonic() + 60 * minutes
    tried: Counter[str] = Counter()
    found: dict[str, str] = {}
    while time.monotonic() < until and len(found) < len(TARGETS):
        for name in TARGETS.keys() - found.keys():
            try:
                _round(name, tried)
            except Exception as error:  # noqa: BLE001 - whatever it raises is the find
                notes = " ".join(getattr(error, "__notes__", ()))
                found[name] = f"{type(error).__name__}: {error} {notes}"[:1000]
                print(f"FOUND {name}: {found[name]!a}", flush=True)
    for name, number in sorted(tried.items()):
        print(f"{number:>10,} {name}")
    print(f"{tried.total():,} examples for {len(TARGETS)} parsers, {len(found)} finds")
    return min(len(found), 1)


def _round(name: str, tried: Counter[str]) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=AT_A_TIME,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(examples(target))
    def some(text: str) -> None:
        tried[name] += 1
        target.try_(text)

    some()


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
