"""What a setting may look like: how it is written, and its bounds."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from worker.core.addresses import CURE_OF_SECRETS, bare, has_secret
from worker.core.source_options import option_faults
from worker.core.timings import Timings

DAY = 86_400.0
SHORTEST_KEY, LONGEST_KEY = 24, 64
"""Bytes of a key that signs webhooks, as Standard Webhooks prescribes."""

LONGEST_NUMBER = 40
"""Characters that a number is written in."""

SLOWEST, FASTEST = 1 / DAY, 1_000_000.0
"""Calls a second."""

DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
"""The one driver for each server; an address that names none gets it."""

BROKERS = (
    "redis://",
    "rediss://",
    "amqp://",
    "amqps://",
    "pyamqp://",
    "sentinel://",
    "memory://",
)

_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*(s|sec|second|m|min|minute|h|hour))?\s*")
_SPAN = re.compile(r"(\d{1,40}(?:\.\d{1,40})?)\s*([smhd]?)")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY}
_PER_SECOND = {"s": 1.0, "m": 60.0, "h": 3600.0}

# --- numbers and words ---------------------------------------------------------------------------


def _rate(value: object) -> object:
    """Calls a second out of "20/s", "600/min" or a plain number."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    match = _RATE.fullmatch(value.lower())
    if match is None:
        raise ValueError('write a rate like "20/s" or "600/min"')
    return float(match[1]) / _PER_SECOND[(match[2] or "s")[0]]


def _span(value: object) -> object:
    """Seconds out of "30d", "12h", "90s"; a plain number is seconds, nothing or off is None."""
    if isinstance(value, bool):
        raise ValueError('write a span of time like "30d" or "12h"')  # noqa: TRY004 - pydantic wants ValueError
    words = str(value).strip().lower()
    if value is None or words in {"", "off", "none"}:
        return None
    match = _SPAN.fullmatch(words)
    if match is None:
        raise ValueError('write a span of time like "30d" or "12h"')
    return float(match[1]) * _SECONDS[match[2] or "s"]


def _whole(value: object) -> object:
    """No number of thousands of digits is worth reading."""
    if isinstance(value, str) and len(value.strip()) > LONGEST_NUMBER:
        raise ValueError("no number of this length makes sense")
    if isinstance(value, bool):  # a switch in a TOML file counts nothing
        raise ValueError("write a number")  # noqa: TRY004 - pydantic wants ValueError
    return value


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _success_statuses(value: object) -> tuple[int, ...]:
    """Status numbers out of "5,7,8" or a list; 5 and 7 always count, 8 may be added."""
    items = value if isinstance(value, list | tuple) else str(value).split(",")
    words = {str(item).strip() for item in items}
    if not {"5", "7"} <= words <= {"5", "7", "8"}:
        raise ValueError("write 5,7 or 5,7,8 (to go on past 5, set CHATFLOW_SETTLE_AT to flow)")
    return tuple(sorted(map(int, words)))


def _list(value: object) -> object:
    """A comma list, or a JSON list."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    return [item.strip() for item in value.split(",") if item.strip()]


def _json_object(value: object) -> object:
    """A JSON object as text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('write it as a JSON object: {"name": value, ...}') from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object_or_file(value: object) -> object:
    """A JSON object as text, or the path of a file that holds one; its contents are never said."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return {}
    if value.lstrip().startswith("{"):
        return _json_object(value)
    try:
        return _json_object(Path(value).read_text(encoding="utf-8"))
    except OSError as error:
        words = f"neither a JSON object nor the path of a file ({error.strerror})"
        raise ValueError(words) from None


def _source_options(value: dict[str, Any]) -> dict[str, Any]:
    faults = list(option_faults(value))
    if faults:
        raise ValueError("; ".join(faults))
    return value


def _roots(value: list[str]) -> list[str]:
    for root in value:
        if has_secret(root):
            raise ValueError(f"{bare(root)}: {CURE_OF_SECRETS}")
    return value


def _timings(value: object) -> object:
    """A JSON object of timings by their names; a name that is missing keeps its usual value."""
    named = _json_object(value)
    if not isinstance(named, dict):
        return named
    for name, seconds in named.items():
        if name not in Timings.__slots__:
            names = ", ".join(Timings.__slots__)
            raise ValueError(f"no timing is called {name}; there are {names}")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ValueError(f"{name}: write a number of seconds")  # noqa: TRY004 - as above
    return named


# The same bounds for a variable and for its twin in the profiles file. All of them are finite.
Finite = Annotated[float, BeforeValidator(_whole), Field(allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_whole)]
OptionalCount = Annotated[
    Annotated[Count, Field(ge=1, le=1_000_000)] | None, BeforeValidator(_blank_is_none)
]
Rate = Annotated[
    Annotated[Finite, Field(ge=SLOWEST, le=FASTEST)] | None,
    BeforeValidator(_rate),
]
Span = Annotated[
    Annotated[float, Field(gt=0, le=3650 * DAY, allow_inf_nan=False)] | None,
    BeforeValidator(_span),
]
OptionalText = Annotated[str | None, BeforeValidator(_blank_is_none)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_blank_is_none)]
SuccessStatuses = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_success_statuses)]
TextList = Annotated[list[str], NoDecode, BeforeValidator(_list)]
Roots = Annotated[TextList, AfterValidator(_roots)]
JsonObject = Annotated[dict[str, Any], NoDecode, BeforeValidator(_json_object)]
OptionsByPlace = Annotated[
    dict[str, Any], NoDecode, BeforeValidator(_object_or_file), AfterValidator(_source_options)
]
TimingsByName = Annotated[Timings, NoDecode, BeforeValidator(_timings)]

# --- addresses, keys and files -------------------------------------------------------------------


def _http_address(value: str | None) -> str | None:
    """An address that holds no more than scheme, host, port and path."""
    if value is None:
        return None
    address = value.strip().rstrip("/")
    parts = urlsplit(address)
    spoiled = parts.query or parts.fragment or not address.isprintable() or " " in address
    if parts.scheme not in {"http", "https"} or not parts.hostname or spoiled:
        raise ValueError("write it as https://DOMAIN")
    _check_port(address)
    if parts.username or parts.password:
        raise ValueError("keep credentials out of the address")
    return f"{parts.scheme}{address[len(parts.scheme) :]}"


def _database_address(value: str) -> str:
    """An SQLAlchemy URL with one of our drivers."""
    driver, separator, _ = value.partition("://")
    if not separator or driver.partition("+")[0] not in {"sqlite", *DRIVERS}:
        raise ValueError("use sqlite:///…, postgresql+psycopg://… or mysql+pymysql://…")
    whole = value.replace(driver, DRIVERS[driver], 1) if driver in DRIVERS else value
    if whole.partition("://")[0] not in {*DRIVERS.values(), "sqlite", "sqlite+pysqlite"}:
        raise ValueError("no such driver: use postgresql+psycopg or mysql+pymysql")
    if not whole.startswith("sqlite"):
        _check_port(whole)
    return whole


def _check_port(address: str) -> None:
    try:
        port = urlsplit(address).port
    except ValueError:  # its words quote what may be a misplaced password
        port = 0
    if port == 0:
        raise ValueError("its port is no number from 1 to 65535")


def _namespace(value: str | None) -> str | None:
    if value is not None and not _NAMESPACE.fullmatch(value):
        raise ValueError("write up to 40 small letters, digits and inner hyphens")
    return value


def _broker_address(value: str) -> str:
    if not value.startswith(BROKERS):
        raise ValueError("use redis://, rediss://, sentinel://, amqp://, amqps:// or memory://")
    return value


def _signing_secret(value: SecretStr | None) -> SecretStr | None:
    # The library drops what is no base64, and would sign with another key than the receiver's.
    if value is None:
        return None
    mark, _, encoded = value.get_secret_value().partition("_")
    try:
        key = b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if mark != "whsec" or not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(
            f"write it as whsec_ and the base64 of {SHORTEST_KEY} to {LONGEST_KEY} bytes"
        )
    return value


def _existing_file(value: str | None) -> str | None:
    if value is not None and not Path(value).is_file():
        raise ValueError(f"no such file: {value}")
    return value


HttpAddress = Annotated[OptionalText, AfterValidator(_http_address)]
DatabaseAddress = Annotated[str, AfterValidator(_database_address)]
Namespace = Annotated[OptionalText, AfterValidator(_namespace)]
BrokerAddress = Annotated[str, AfterValidator(_broker_address)]
SigningSecret = Annotated[OptionalSecret, AfterValidator(_signing_secret)]
ExistingFile = Annotated[OptionalText, AfterValidator(_existing_file)]
