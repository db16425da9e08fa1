"""What lies in the folders of a schedule, with sizes and times of change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from worker.adapters.local_files import path_of, source_of
from worker.adapters.remote_files import is_url
from worker.core.model import SeenFile

RemoteLook = Callable[[str, str | None, bool], Iterable[SeenFile]]
"""Looks at a URL: the address, the glob, whether to go into folders."""


class FileListing:
    """Lists local files itself; addresses of other places are left to `remote`.

    Links to folders are not followed, so that no loop is walked for ever; whether a link to a
    file may be read is decided where it is opened.
    """

    def __init__(self, remote: RemoteLook) -> None:
        self._remote = remote

    def look(
        self, paths: Sequence[str], *, glob: str | None = None, recursive: bool = False
    ) -> Iterator[SeenFile]:
        """Every file with its size and time of change, each once; what is gone gives nothing."""
        seen: set[str] = set()
        for path in paths:
            for file in self._look_at(path, glob, recursive=recursive):
                if file.source not in seen:
                    seen.add(file.source)
                    yield file

    def _look_at(self, path: str, glob: str | None, *, recursive: bool) -> Iterable[SeenFile]:
        if is_url(path):
            return self._remote(path, glob, recursive)
        local = path_of(path)
        if local.is_dir():
            return _look_into(local, glob, recursive=recursive)
        return _stat(local)


def _look_into(folder: Path, glob: str | None, *, recursive: bool) -> Iterator[SeenFile]:
    for parent, folders, names in os.walk(folder):
        for name in sorted(names):
            file = Path(parent, name)
            if glob is None or PurePosixPath(file.relative_to(folder)).match(glob):
                yield from _stat(file)
        folders[:] = sorted(folders) if recursive else []


def _stat(file: Path) -> Iterator[SeenFile]:
    """The file as it is, or nothing when it is gone or no file."""
    try:
        if file.is_file():
            status = file.stat()
            yield SeenFile(source_of(str(file)), status.st_size, status.st_mtime_ns)
    except OSError:
        return
