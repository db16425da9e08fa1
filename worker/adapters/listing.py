"""What lies in the folders of a schedule, with sizes and times of change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.adapters.local_files import path_of
from worker.adapters.remote_files import RemoteFolder, is_url
from worker.adapters.sources import is_below, listing
from worker.core.model import SeenFile
from worker.errors import SourceRejected


class FileListing:
    """Looks at files and folders, of this machine or at URLs.

    Args:
        roots: no URL outside of these is asked what it holds.
    """

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = roots

    def look(
        self, paths: Sequence[str], *, glob: str | None = None, recursive: bool = False
    ) -> Iterator[SeenFile]:
        """Every file as it is right now, each once; what is gone gives nothing.

        Where a URL's server tells no time of change, a number made of all that it tells stands
        for it: it is compared, never read as a time.
        """
        seen: set[str] = set()
        for source in listing(paths, recursive, glob, self._roots):
            if source not in seen:
                seen.add(source)
                yield from self._remote(source) if is_url(source) else _local(source)

    def _remote(self, url: str) -> Iterator[SeenFile]:
        if not is_below(self._roots, url):
            yield SeenFile(url, 0, 0)  # its batch will say why it may not be
            return
        folder = RemoteFolder(url)
        try:
            _, size = folder.look(url)
            yield SeenFile(url, size, folder.stamp(url))
        except SourceRejected:
            return


def _local(source: str) -> Iterator[SeenFile]:
    try:
        path = path_of(source)
        status = path.stat()
        if path.is_file():
            yield SeenFile(source, status.st_size, status.st_mtime_ns)
    except (OSError, ValueError):
        return
