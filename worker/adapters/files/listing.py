"""What lies in the folders of a schedule, with sizes and times of change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.adapters.files.drivers import require_drivers
from worker.adapters.files.local_files import path_of
from worker.adapters.files.remote_files import NO_OPTIONS, RemoteFile, RemoteFolder, is_url
from worker.adapters.files.walk import files_below, is_below, remote_below
from worker.codes import ErrorCode
from worker.core.addresses import has_secret
from worker.core.model.fleet import SeenFile
from worker.core.source_options import SourceOptions
from worker.errors import SourceAway, SourceRejected


class FileListing:
    """Looks at files and folders, of this machine or at URLs.

    Args:
        roots: no URL outside of these is asked what it holds.
        options: what the drivers of URLs are told.

    Raises:
        ConfigurationError: the driver of a root is not installed.
    """

    def __init__(self, roots: Sequence[str], options: SourceOptions = NO_OPTIONS) -> None:
        require_drivers(roots)
        self._roots = roots
        self._options = options

    def look(
        self, paths: Sequence[str], *, glob: str | None = None, recursive: bool = False
    ) -> Iterator[SeenFile]:
        """Every file as it is right now, each once; what is gone gives nothing.

        A URL's server tells times in forms of its own, or tags: a number made of what it tells
        stands for the time of change; it is compared, never read as a time.

        Raises:
            SourceRejected: a URL can't be listed.
            SourceAway: its place is out of reach for the moment.
        """
        seen: set[str] = set()
        for path in paths:
            found = self._remote if is_url(path) else _local
            for file in found(path, glob, recursive):
                if file.source not in seen:
                    seen.add(file.source)
                    yield file

    def _remote(self, url: str, glob: str | None, recursive: bool) -> Iterator[SeenFile]:  # noqa: FBT001 - as it is passed on
        if has_secret(url) or not is_below(self._roots, url):
            yield SeenFile(url, 0, 0)  # its batch will say why it may not be
            return
        for found in remote_below(url, glob, self._options, recursive=recursive):
            file = found if found.size is not None and found.stamp else self._looked_at(found.url)
            if file is not None:
                yield SeenFile(file.url, file.size or 0, file.stamp or 0)

    def _looked_at(self, url: str) -> RemoteFile | None:
        try:
            return RemoteFolder(url, self._options).seen(url)
        except SourceAway:
            raise
        except SourceRejected as error:
            return None if error.code == ErrorCode.NOT_FOUND else RemoteFile(url)


def _local(path: str, glob: str | None, recursive: bool) -> Iterator[SeenFile]:  # noqa: FBT001 - as above
    for source in files_below(path, glob, recursive=recursive):
        try:
            place = path_of(source)
            status = place.stat()
            if place.is_file():
                yield SeenFile(source, status.st_size, status.st_mtime_ns)
        except (OSError, ValueError):
            continue
