"""What may be said about the broker: address and options, held against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from worker.errors import ConfigurationError

_URL, _OPTIONS = "INGEST_BROKER_URL", "INGEST_BROKER_OPTIONS"
_BEHIND_TLS = ("rediss", "amqps", "sentinel")
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_VERIFY = ("required", "optional", "none")


def check_broker(url: str, options: Mapping[str, Any]) -> None:
    """Refuse what the broker's client would stumble over, or silently pass by.

    Args:
        url: one address, or several with semicolons between them.
        options: the operator's, by the names of redis-py and kombu.

    Raises:
        ConfigurationError: a line for each fault.
    """
    scheme = url.partition("://")[0]
    if scheme == "memory":
        return
    faults = [*_address_faults(url, scheme, options), *_option_faults(scheme, options)]
    if faults:
        raise ConfigurationError(*faults)


def _address_faults(url: str, scheme: str, options: Mapping[str, Any]) -> Iterator[str]:
    if not all(part.startswith(f"{scheme}://") for part in url.split(";")):
        yield f"{_URL}: every address between semicolons has to begin with {scheme}://"
    said = {k: v for k, v in parse_qsl(urlsplit(url).query) if k.startswith("ssl_")}
    if said and (scheme == "sentinel" or any(key.startswith("ssl_") for key in options)):
        yield f"{_URL}: {', '.join(said)}: say what is about TLS in {_OPTIONS} alone"
    if said.get("ssl_cert_reqs", "none").removeprefix("CERT_").lower() not in _VERIFY:
        yield f"{_URL}: ssl_cert_reqs: write one of {', '.join(_VERIFY)}"


def _option_faults(scheme: str, options: Mapping[str, Any]) -> Iterator[str]:
    name = options.get("master_name")
    if scheme == "sentinel" and not (isinstance(name, str) and name):
        yield (
            f'{_OPTIONS}: sentinel:// needs the master\'s name, as in {{"master_name": "mymaster"}}'
        )
    if not isinstance(options.get("sentinel_kwargs", {}), Mapping):
        yield f"{_OPTIONS}: sentinel_kwargs: write a JSON object"
    tls = sorted(key for key in options if key.startswith("ssl_"))
    if tls and scheme not in _BEHIND_TLS:
        yield f"{_OPTIONS}: {', '.join(tls)}: {scheme}:// is without TLS; write {_secure(scheme)}"
    if options.get("ssl_cert_reqs", "required") not in _VERIFY:
        yield f"{_OPTIONS}: ssl_cert_reqs: write one of {', '.join(_VERIFY)}"
    for key in _FILES:
        if key in options and (fault := _file_fault(options[key])) is not None:
            yield f"{_OPTIONS}: {key}: {fault}"


def _secure(scheme: str) -> str:
    return "rediss://" if scheme == "redis" else "amqps://"


def _file_fault(path: object) -> str | None:
    """Why this can't be read; it is not told what stands in it."""
    if not isinstance(path, str):
        return "write the path of a file"
    try:
        with Path(path).open("rb"):
            return None
    except (OSError, ValueError) as error:
        return f"{path}: {getattr(error, 'strerror', None) or 'no path'}"
