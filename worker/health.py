"""``python -m worker.health``: exit 0 when the worker of this machine did a round trip just now.

Each worker sends itself a task through the broker and touches a file when it arrives. A fresh file
means that the broker, the consumer and the task threads all work, which a mere ping does not.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path

HEARTBEAT_EVERY = 15.0
"""Seconds between two round trips."""

STALE_AFTER = 60.0
"""Seconds after the last round trip from which on the worker counts as ill."""

_PREFIX = "chatflow-ingest-"
_SUFFIX = ".alive"


def heartbeat_file(node: str, namespace: str | None = None) -> Path:
    """The file that the worker with this node name touches."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", node)
    return Path(tempfile.gettempdir()) / f"{_beginning(namespace)}{name}{_SUFFIX}"


def _beginning(namespace: str | None) -> str:
    return f"{_PREFIX}{namespace}." if namespace else _PREFIX


def age(node: str | None = None, namespace: str | None = None) -> float | None:
    """Seconds since the last round trip, of the worker named or of the latest; None: never."""
    if node is not None:
        files = [heartbeat_file(node, namespace)]
    else:
        files = list(Path(tempfile.gettempdir()).glob(f"{_beginning(namespace)}*{_SUFFIX}"))
    times = [file.stat().st_mtime for file in files if file.exists()]
    return time.time() - max(times) if times else None


def main(arguments: list[str]) -> int:
    """Say how the worker is; 0 when it is well, 1 when not."""
    seconds = age(arguments[0] if arguments else None, os.environ.get("INGEST_NAMESPACE"))
    if seconds is None:
        sys.stderr.write("no round trip yet\n")
        return 1
    sys.stdout.write(f"last round trip {seconds:.0f} s ago\n")
    return 0 if seconds < STALE_AFTER else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
