"""Where each setting comes from, and names that look like settings and are none."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import DotEnvSettingsSource

from worker.core.source_options import shown_options
from worker.core.timings import Timings
from worker.errors import ConfigurationError
from worker.settings.faults import fault_lines
from worker.settings.service import ServiceSettings
from worker.settings.variables import DOT_ENV, USUAL_SECRETS, Settings

PREFIXES = ("CHATFLOW_", "INGEST_")
OF_COMPOSE = frozenset({"INGEST_DATA"})
"""Variables of the compose file's own, which may stand in the same `.env`."""
MASK = "***"

_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")
_PROFILE_VARIABLE = re.compile(r"""^\s*\w+_env\s*=\s*["'](\w+)["']""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting as it is in force.

    Attributes:
        value: as text, secrets masked; None when it is not set.
        source: "environment", ".env", the secrets folder, or "default".
    """

    name: str
    value: str | None
    source: str
    secret: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name that looks like a setting and is none; `nearest` is the likely one that was meant."""

    name: str
    source: str
    nearest: str | None

    def words(self) -> str:
        """A line about it."""
        meant = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.name} ({self.source}) is no setting{meant}"


def origins(settings: Settings) -> list[Origin]:
    """Every setting with its value and where that comes from, in the README's order."""
    places = list(_places())
    return [_origin(settings, key, str(f.alias), places) for key, f in _fields()]


def unknown_names() -> list[Unknown]:
    """Names in the environment, in `.env` and in the secrets folder that mean nothing."""
    candidates = [(n, source) for source, names in _places() for n in names if _is_ours(n)]
    if not candidates:
        return []
    settings = {str(field.alias) for _, field in _fields()}
    known = settings | OF_COMPOSE | _named_by_profiles()
    return [
        Unknown(name, source, next(iter(get_close_matches(name.upper(), settings, n=1)), None))
        for name, source in candidates
        if name.upper() not in known
    ]


def check(values: Mapping[str, str]) -> None:
    """Check values of the service's part, by variable name.

    Raises:
        ConfigurationError: a line per fault, naming its variable and never the value.
    """
    try:
        ServiceSettings.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigurationError(*fault_lines(error)) from None


def dot_env(path: Path) -> dict[str, str | None]:
    """What a `.env` file says, by the names that it uses."""
    source = DotEnvSettingsSource(
        Settings, env_file=path, env_file_encoding="utf-8", case_sensitive=True
    )
    return dict(source.env_vars)


def set_elsewhere(names: Mapping[str, str]) -> list[str]:
    """Those of the names that the environment sets to something else, which goes first."""
    return [name for name, value in names.items() if os.environ.get(name, value) not in {value, ""}]


def _fields() -> Iterator[tuple[str, Any]]:
    yield from Settings.model_fields.items()


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIXES)


def _places() -> Iterator[tuple[str, list[str]]]:
    """The names that each place sets, in the order in which the places count."""
    yield "environment", [name for name, value in os.environ.items() if value]
    if Path(DOT_ENV).is_file():
        with suppress(OSError, ValueError):  # whoever reads the settings says what is wrong
            yield DOT_ENV, [name for name, value in dot_env(Path(DOT_ENV)).items() if value]
    folder = Path(os.environ.get("INGEST_SECRETS_DIR") or USUAL_SECRETS)
    if folder.is_dir():
        try:
            yield str(folder), sorted(entry.name for entry in folder.iterdir() if entry.is_file())
        except OSError:
            return


def _named_by_profiles() -> set[str]:
    """Variables that the profiles file takes secrets from."""
    named = os.environ.get("INGEST_PROFILES") or said_in_dot_env("INGEST_PROFILES")
    try:
        text = Path(named).read_text(encoding="utf-8") if named else ""
    except (OSError, ValueError):
        return set()
    return {name.upper() for name in _PROFILE_VARIABLE.findall(text)}


def said_in_dot_env(name: str) -> str | None:
    """What `.env` sets this variable to; None where it does not, or can't be read."""
    try:
        return dot_env(Path(DOT_ENV)).get(name) if Path(DOT_ENV).is_file() else None
    except (OSError, ValueError):
        return None


def _origin(settings: Settings, key: str, name: str, places: list[tuple[str, list[str]]]) -> Origin:
    source = next(
        (place for place, names in places if any(n.upper() == name for n in names)), "default"
    )
    value = getattr(settings, key)
    secret = isinstance(value, SecretStr) or "SecretStr" in str(
        Settings.model_fields[key].annotation
    )
    return Origin(name, _as_text(value), source, secret)


def _as_text(value: Any) -> str | None:
    match value:
        case None:
            return None
        case SecretStr():
            return MASK
        case bool():
            return "on" if value else "off"
        case list() | tuple():
            return ",".join(str(_as_text(item)) for item in value)
        case dict():
            return shown_options(value)
        case Timings():
            return json.dumps({name: _number(part) for name, part in asdict(value).items()})
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return _PASSWORD.sub(f"{MASK}@", str(value))


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value
