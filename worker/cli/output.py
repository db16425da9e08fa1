"""Where results are written: stdout, or a file that appears only when it is whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from worker.cli.terminal import drop_stdout, shown
from worker.errors import UsageError


@contextmanager
def destination(path: Path | None) -> Iterator[BinaryIO]:
    """Open `path` for writing, or stdout for None.

    Raises:
        UsageError: it can't be written to.
    """
    if path is None:
        with _stdout() as out:
            yield out
        return
    try:
        with _in_place(path) if _is_special(path) else _whole(path) as out:
            yield out
    except OSError as error:
        raise UsageError(f"can't write {shown(path)}: {error.strerror or error}") from error


@contextmanager
def _stdout() -> Iterator[BinaryIO]:
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        drop_stdout()  # the reader has seen enough


def _is_special(path: Path) -> bool:
    """Whether it is a pipe or a device, which is written to and not replaced."""
    return path.exists() and not path.is_file()


@contextmanager
def _in_place(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as out:
        yield out


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """Write next to the file and rename: a reader sees the old one or the whole new one."""
    target = path.resolve()  # a link stays a link
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
