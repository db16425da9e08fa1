"""`python -m tests.simulation SEEDS [FIRST]`: run seeds and tell the story of each that fails.

A single seed's story is told in any case. Ctrl-C ends it early, with what there is to say by then.
"""

from __future__ import annotations

import sys
import time

from tests.simulation.run import Outcome, simulate
from tests.simulation.store import Shelf

SAY_EVERY = 1000
"""Seeds between two words on how far it is."""


def main(arguments: list[str]) -> int:
    number, first = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    began, done, failed, killed = time.process_time(), 0, 0, 0
    shelf = Shelf()
    try:
        for seed in range(first, first + number):
            outcome = simulate(seed, shelf)
            done += 1
            killed += outcome.killed
            failed += bool(outcome.faults)
            if outcome.faults or number == 1:
                tell(outcome)
            if done % SAY_EVERY == 0 and done < number:
                print(f"... {done} seeds", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        pass
    shelf.close()
    speed = done / (time.process_time() - began)
    counts = f"{done} seeds from {first}, {failed} with faults, {killed:,} kills"
    print(f"{counts}, {speed:.1f} per second of CPU")
    return min(failed, 1)


def tell(outcome: Outcome) -> None:
    print("\n".join([f"seed {outcome.seed}", *outcome.story, *outcome.faults]), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
