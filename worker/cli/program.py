"""How this program is called by whoever reads its advice, so that a copied line works."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from shutil import which

NAME = "chatflow-ingest"


def command(*words: object) -> str:
    """A line that runs this program with these words, to be pasted into the same shell."""
    return shlex.join([program(), *map(str, words)])


def program() -> str:
    """The program's name where the PATH knows it, else the path by which it was started."""
    here = _script()
    found = which(NAME)
    if here is None or (found is not None and Path(found).resolve() == here.resolve()):
        return NAME
    relative = os.path.relpath(here)
    if relative.startswith(os.pardir):
        return str(here)
    return relative if os.sep in relative else os.path.join(os.curdir, relative)  # noqa: PTH118 -- a Path drops "./"


def _script() -> Path | None:
    """The console script that runs, or that stands beside the interpreter."""
    started = Path(sys.argv[0])
    if started.name != NAME:
        started = Path(sys.executable).with_name(NAME)
    return started.absolute() if started.exists() else None
