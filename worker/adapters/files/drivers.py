"""The drivers behind URLs: which package brings each, and how it is set up."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from typing import Any

import fsspec

from worker.core.addresses import LOCAL_SCHEMES, bare, scheme_of
from worker.core.source_options import SourceOptions
from worker.errors import ConfigurationError

HTTP = frozenset({"http", "https"})
SSH = frozenset({"sftp", "ssh"})
BLOCK_SIZE = 4 * 1024**2
"""Bytes that a driver reads ahead. fsspec's own choice for S3 is 50 MB, for each open file."""

_EXTRAS = {
    "s3": ("s3", "s3fs"),
    "s3a": ("s3", "s3fs"),
    "gs": ("gcs", "gcsfs"),
    "gcs": ("gcs", "gcsfs"),
    "az": ("azure", "adlfs"),
    "abfs": ("azure", "adlfs"),
    "abfss": ("azure", "adlfs"),
    "sftp": ("sftp", "sshfs"),
    "ssh": ("sftp", "sshfs"),
}
"""Scheme: the extra that brings its driver, and the package that this is."""

S3 = frozenset({"s3", "s3a"})
_S3_DEFAULTS = {"use_listings_cache": False, "config_kwargs": {"retries": {"max_attempts": 0}}}
_S3_ATTEMPTS = 3
"""s3fs tries five times what botocore tries five times: seven minutes for a server that is silent.
Whoever asks here asks again by himself; a few attempts bridge a break in the middle of a file."""

_SSH_DEFAULTS = {
    "known_hosts": (),  # asyncssh's: those of ~/.ssh/known_hosts; sshfs itself would take any host
    "connect_timeout": 20,
    "login_timeout": 45,
    "keepalive_interval": 15,
    "sftp_client_kwargs": {"path_errors": "surrogateescape"},
}


_TALKATIVE = ("botocore", "aiobotocore", "s3fs", "gcsfs", "adlfs", "azure", "asyncssh", "fsspec")


@cache
def hush_drivers() -> None:
    """Let the drivers' libraries log no more than warnings: DEBUG tells headers and signatures."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def driver_fault(url: str) -> str | None:
    """Why nothing can be read at a URL on this machine; None when its driver is there."""
    scheme = scheme_of(url)
    if scheme in LOCAL_SCHEMES:
        return None
    if scheme in _EXTRAS:
        extra, module = _EXTRAS[scheme]
        if find_spec(module) is not None:
            return None
        return f'{scheme}:// needs a driver: pip install "chatflow-ingest[{extra}]"'
    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        return f"{scheme}:// has no driver here ({error})"
    return None


def require_drivers(roots: Iterable[str]) -> None:
    """Refuse roots that nothing could ever be read from.

    Raises:
        ConfigurationError: a line for each root whose driver is missing.
    """
    faults = [(root, driver_fault(root)) for root in roots if "://" in root]
    lines = [f"INGEST_ROOTS: {bare(root)}: {fault}" for root, fault in faults if fault]
    if lines:
        raise ConfigurationError(*lines)


class Driver:
    """One URL's driver as it is set up: its file system, and where the URL lies in it.

    fsspec keeps one file system per process and settings, and makes another after a fork.

    Attributes:
        scheme: of the URL, in lower case.
        block_size: bytes that it reads ahead.
    """

    def __init__(self, url: str, options: SourceOptions, **more: Any) -> None:
        hush_drivers()
        scheme, _, rest = url.partition("://")
        self.scheme = scheme.lower()
        self._url = f"{self.scheme}://{rest}"
        authority, _, path = rest.partition("/")
        given = options.of(url)
        self.block_size = int(given.pop("block_size", BLOCK_SIZE))
        kind = fsspec.get_filesystem_class(self.scheme)
        said = kind._get_kwargs_from_urls(f"{self.scheme}://{authority}/")
        self._authority = authority if "host" in said else None
        self._path = f"/{path}"
        self._settings = {**self._defaults(), **given, **said, **more}

    def _defaults(self) -> dict[str, Any]:
        if self.scheme in SSH:
            return dict(_SSH_DEFAULTS)
        return dict(_S3_DEFAULTS) if self.scheme in S3 else {"use_listings_cache": False}

    @property
    def system(self) -> Any:
        """The file system; this connects, where a driver does so at once."""
        system = fsspec.filesystem(self.scheme, **self._settings)
        if self.scheme in S3:
            system.retries = _S3_ATTEMPTS
        return system

    @property
    def path(self) -> str:
        """Where the URL lies in it."""
        if self.scheme in HTTP:
            return self._url
        if self._authority is not None:  # the rest is a path as it stands, whatever it holds
            return self._path
        return str(self.system._strip_protocol(self._url))

    def address(self, name: str) -> str:
        """The URL of something that the file system names, spelt like this one."""
        if self.scheme in HTTP:
            return name
        if self._authority is not None:
            return f"{self.scheme}://{self._authority}{name}"
        path = self.path
        if path and name.startswith(path):
            return self._url.rstrip("/") + name[len(path.rstrip("/")) :]
        return f"{self.scheme}://{name}"

    def forget(self) -> bool:
        """Let the next one connect anew; False where a driver does so by itself."""
        if self._authority is None:
            return False
        fsspec.get_filesystem_class(self.scheme).clear_instance_cache()
        return True
