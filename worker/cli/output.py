"""Where results are written: stdout, or a file that appears only when it is whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from uuid import uuid4

from worker.cli.terminal import drop_stdout, shown
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.settings import Settings


@contextmanager
def destination(target: str | None, settings: Settings) -> Iterator[BinaryIO]:
    """Open a path or a URL for writing, or stdout for None.

    Raises:
        UsageError: it can't be written to.
    """
    if target is None:
        opened: AbstractContextManager[BinaryIO] = _stdout()
    elif "://" in target:
        from worker.adapters.files.remote_output import written

        opened = written(target, settings.source_options)
    else:
        opened = _file(Path(target))
    with opened as out:
        yield out


@contextmanager
def _file(path: Path) -> Iterator[BinaryIO]:
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
