"""Fitting what is said to the terminal where it is read; what is piped on stays as it is."""

from __future__ import annotations

import os
import shutil
import textwrap
from typing import TextIO

NARROWEST = 40


def folded(line: str, indent: str, stream: TextIO) -> str:
    """A line as wide as the terminal is, broken between words; what follows is indented."""
    if not stream.isatty():
        return line
    width = max(NARROWEST, shutil.get_terminal_size().columns)
    return textwrap.fill(
        line,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def near(path: str, stream: TextIO) -> str:
    """A path as it is seen from here, where that is shorter: for a reader, not for a program."""
    if not stream.isatty() or not os.path.isabs(path):  # noqa: PTH117 -- a source may be a URL
        return path
    seen = os.path.relpath(path)
    return path if seen.startswith(os.pardir) else seen
