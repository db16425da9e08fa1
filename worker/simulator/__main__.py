"""`python -m worker.simulator`: the simulator as a process of its own, without the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from worker.errors import ConfigurationError
from worker.simulator.server import serve


def main() -> int:
    """Serve until interrupted; exit 2 when the scenario or the address is wrong."""
    parser = argparse.ArgumentParser(prog="python -m worker.simulator")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--scenario", type=Path)
    parser.add_argument("--strict", action="store_true")
    given = parser.parse_args()
    try:
        serve(given.host, given.port, given.scenario, _say, strict=given.strict)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is a command
        return 2
    return 0


def _say(url: str) -> None:
    print(url, flush=True)  # noqa: T201 - this is a command


if __name__ == "__main__":
    sys.exit(main())
