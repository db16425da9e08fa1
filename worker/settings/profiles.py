"""The profiles file: a table for each further profile, which names its secrets' places."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from worker.core.order import PROFILE_NAME
from worker.errors import ConfigurationError
from worker.settings.service import ServiceSettings


def profile_tables(file: str | None) -> dict[str, dict[str, Any]]:
    """The tables of the profiles file by name, secrets fetched; none without a file.

    Raises:
        ConfigurationError: a line per fault.
    """
    if file is None:
        return {}
    try:
        document = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"INGEST_PROFILES: {file}: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"INGEST_PROFILES: {file}: nested too deeply") from None
    faults: list[str] = []
    profiles = document.get("profiles", {})
    if not isinstance(profiles, dict):
        raise ConfigurationError(f"INGEST_PROFILES: {file}: write tables, [profiles.NAME]")
    tables = {name: _resolve_table(name, table, faults) for name, table in profiles.items()}
    faults += [f"INGEST_PROFILES: unknown table or key {k!r}" for k in document if k != "profiles"]
    if faults:
        raise ConfigurationError(*faults)
    return tables


def _resolve_table(name: str, table: Any, faults: list[str]) -> dict[str, Any]:
    """The values of one profile's table, its secrets fetched from where it says they are."""
    where = f"INGEST_PROFILES [profiles.{name}]"
    if not isinstance(table, dict) or not PROFILE_NAME.fullmatch(name):
        faults.append(f"{where}: write [profiles.NAME], NAME of letters, digits, '-', '_' and '.'")
        return {}
    values: dict[str, Any] = {}
    for key, value in table.items():
        stem, _, kind = key.rpartition("_")
        if key in {"robot_key", "robot_token"}:
            faults.append(f"{where} {key}: no secret in clear; use {key}_env or {key}_file")
        elif kind in {"env", "file"} and stem in {"robot_key", "robot_token", "username"}:
            secret = _fetch_secret(kind, str(value))
            if secret is None:
                faults.append(f"{where} {key}: nothing to read at {value!r}")
            else:
                values[stem] = secret
        elif key in ServiceSettings.model_fields:
            values[key] = value
        else:
            faults.append(f"{where} {key}: unknown key")
    return values


def _fetch_secret(kind: str, place: str) -> str | None:
    if kind == "env":
        return os.environ.get(place) or None
    try:
        return Path(place).read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None
