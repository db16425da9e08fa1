"""What the drivers of sources are told, by scheme or by the beginning of an address."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from worker.core.addresses import STARS, anonymous, has_secret, place, without_secrets

_PLAIN = frozenset(
    {
        "host", "port", "username", "endpoint_url", "region_name", "account_name", "project",
        "known_hosts", "client_keys", "profile", "master_name", "ssl_ca_certs", "ssl_certfile",
        "ssl_keyfile", "ssl_cert_reqs",
    }
)  # fmt: skip
_SHORTEST = 4
"""Characters of a value that is looked for in messages: less would hit any word."""


class SourceOptions:
    """The options of each place's driver.

    Args:
        by_place: options by a scheme ("s3") or by the beginning of an address ("sftp://host/in");
            the longer beginning has the last word.
    """

    def __init__(self, by_place: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._by_place = dict(by_place or {})
        self._secrets = sorted(set(_secrets(self._by_place)), key=len, reverse=True)

    def of(self, url: str) -> dict[str, Any]:
        """The options for an address."""
        merged: dict[str, Any] = {}
        places = [parts for parts in (place(url), place(anonymous(url))) if parts]
        known = ((begin, each) for key, each in self._by_place.items() if (begin := _parts(key)))
        for begin, options in sorted(known, key=lambda pair: len(pair[0])):
            if any(parts[: len(begin)] == begin for parts in places):
                merged |= options
        return merged

    def hidden(self, text: str) -> str:
        """The text without the values that are secret, in case a driver repeats one."""
        for secret in self._secrets:
            text = text.replace(secret, STARS)
        return text


def _parts(key: str) -> tuple[str, ...] | None:
    return place(key) if "://" in key else (key.lower(),)


def option_faults(by_place: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the options, a line each; no line repeats a value or a secret."""
    for key, options in by_place.items():
        shown = without_secrets(key)
        if has_secret(key):
            yield f"{shown}: the address holds a secret; write it among the options"
        if _parts(key) is None:
            yield f"{shown}: write a scheme, or the beginning of an address without '..'"
        if not isinstance(options, Mapping):
            yield f"{shown}: write a JSON object of options"
        elif not isinstance(options.get("block_size", 1), int) or options.get("block_size", 1) < 1:
            yield f"{shown}: block_size: write a number of bytes"


def masked(value: Any, name: str = "") -> Any:
    """Options as they may be shown: of texts only those that are known to be no secret."""
    match value:
        case Mapping():
            return {key: masked(each, key) for key, each in value.items()}
        case list() | tuple():
            return [masked(each, name) for each in value]
        case str():
            return without_secrets(value) if name in _PLAIN else STARS
        case _:
            return value


def shown_options(by_place: Mapping[str, Any]) -> str:
    """Options as JSON, secrets masked."""
    return json.dumps({without_secrets(k): masked(v) for k, v in by_place.items()})


def _secrets(value: Any, name: str = "") -> Iterator[str]:
    match value:
        case Mapping():
            for key, each in value.items():
                yield from _secrets(each, key)
        case list():
            for each in value:
                yield from _secrets(each, name)
        case str() if name not in _PLAIN and len(value) >= _SHORTEST:
            yield value
