"""A file at a URL that is written: it appears, or replaces another, only when it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO
from uuid import uuid4

from worker.adapters.files.drivers import HTTP, S3, SSH, Driver, driver_fault
from worker.adapters.files.opened_file import shown
from worker.adapters.files.remote_files import RemoteFolder
from worker.core.addresses import CURE_OF_SECRETS, has_secret, scheme_of
from worker.core.source_options import SourceOptions
from worker.errors import IngestError, UsageError

_IN_PARTS = {"chunksize": 8 * 1024**2, "max_concurrency": 2}
"""Of S3: by itself it would hold ten parts of 50 MB in memory."""


@contextmanager
def written(url: str, options: SourceOptions) -> Iterator[BinaryIO]:
    """Gives a file of this machine, which is brought to the URL when the block ends well.

    Raises:
        UsageError: nothing can be written there; or it could not be brought.
    """
    scheme = scheme_of(url)
    fault = CURE_OF_SECRETS if has_secret(url) else driver_fault(url)
    if fault is None and scheme in HTTP:
        fault = "nothing is written over HTTP; name a file, or a URL of a store"
    if fault is not None:
        raise UsageError(f"can't write {shown(url)}: {fault}")
    with NamedTemporaryFile(prefix="chatflow-ingest-") as out:
        yield out  # type: ignore[misc]  # it has all that a BinaryIO has
        out.flush()
        bring = _bring_by_ssh if scheme in SSH else _bring
        try:
            RemoteFolder(url, options).asked(url, lambda d: bring(d, out.name), "written")
        except IngestError as error:
            raise UsageError(error.message) from error


def _bring(driver: Driver, path: str) -> None:
    s3: dict[str, Any] = _IN_PARTS if driver.scheme in S3 else {}
    driver.system.put_file(path, driver.path, **s3)


def _bring_by_ssh(driver: Driver, path: str) -> None:
    folder, _, name = driver.path.rpartition("/")
    part = f"{folder}/.{name}.{uuid4().hex}.part"
    try:
        driver.system.put_file(path, part)
        driver.system.mv(part, driver.path)
    except BaseException:
        if driver.system.exists(part):
            driver.system.rm_file(part)
        raise
