"""The only reader of the environment: variables, ``.env``, a secrets folder and the profiles file.

Every field's alias is the variable's name and its description the README's line about it.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.core.lifecycle import SettleAt
from worker.core.model import Credentials
from worker.errors import ConfigurationError

DEFAULT_PROFILE = "default"
GIB = 1024**3

_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*(s|sec|second|m|min|minute|h|hour))?\s*")
_PER_SECOND = {"s": 1.0, "m": 60.0, "h": 3600.0}
_PROFILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def _rate(value: object) -> object:
    """Calls a second out of "20/s", "600/min" or a plain number."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    match = _RATE.fullmatch(value.lower())
    if match is None or float(match[1]) <= 0:
        raise ValueError('write a rate like "20/s" or "600/min"')
    return float(match[1]) / _PER_SECOND[(match[2] or "s")[0]]


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


Rate = Annotated[float | None, BeforeValidator(_rate)]
OptionalText = Annotated[str | None, BeforeValidator(_blank_is_none)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_blank_is_none)]


class ServiceSettings(BaseModel):
    """What may differ between profiles: the service, the account, the limits."""

    base_url: OptionalText = Field(
        None, alias="CHATFLOW_BASE_URL", description="`https://DOMAIN` of the service"
    )
    robot_key: OptionalSecret = Field(None, alias="CHATFLOW_ROBOT_KEY", description="robot key")
    robot_token: OptionalSecret = Field(
        None, alias="CHATFLOW_ROBOT_TOKEN", description="robot token"
    )
    username: OptionalSecret = Field(None, alias="CHATFLOW_USERNAME", description="user account")
    decode_credentials: bool = Field(
        False,
        alias="CHATFLOW_DECODE_CREDENTIALS",
        description="percent-decode key and token before sending",
    )
    tenant_name: str = Field(
        "AiopsTest", alias="CHATFLOW_TENANT_NAME", description="tenant registered with the service"
    )
    question: str = Field(
        "File upload", alias="CHATFLOW_QUESTION", description="what opens the upload intent"
    )
    flow_uuid: OptionalText = Field(
        None, alias="CHATFLOW_FLOW_UUID", description="set: open that flow directly"
    )
    message_source: str = Field(
        "WS", alias="CHATFLOW_MESSAGE_SOURCE", description="`message_source` of the dialog"
    )
    settle_at: SettleAt = Field(
        SettleAt.PARSE,
        alias="CHATFLOW_SETTLE_AT",
        description="`parse`: status 5 is terminal; `flow`: go on to 7 or 8",
    )
    dialog_timeout: float = Field(
        30.0,
        gt=0,
        alias="CHATFLOW_DIALOG_TIMEOUT",
        description="seconds for one dialog to reach its upload node",
    )
    ca_bundle: OptionalText = Field(
        None,
        alias="CHATFLOW_CA_BUNDLE",
        description="file of trusted certificates instead of the system's; TLS is always verified",
    )
    max_file_bytes: int = Field(
        GIB, gt=0, alias="INGEST_MAX_FILE_BYTES", description="largest file that is uploaded"
    )
    poll_deadline: float = Field(
        3600.0,
        gt=0,
        alias="INGEST_POLL_DEADLINE",
        description="seconds after submission until a file is `timed_out`",
    )
    max_upload_attempts: int = Field(
        5,
        ge=1,
        alias="INGEST_MAX_UPLOAD_ATTEMPTS",
        description="uploads of one file (taken, refused or unknown) before it fails",
    )
    on_unknown_upload: Literal["resubmit", "fail"] = Field(
        "resubmit",
        alias="INGEST_ON_UNKNOWN_UPLOAD",
        description="what a lost upload reply leads to: `resubmit` or `fail`",
    )
    max_concurrent_uploads: int = Field(
        8,
        ge=1,
        alias="INGEST_MAX_CONCURRENT_UPLOADS",
        description="uploads in flight, per profile over all workers",
    )
    rate_limit: Rate = Field(
        None,
        alias="INGEST_RATE_LIMIT",
        description='upload calls, per profile over all workers, for example "20/s"',
    )
    poll_rate_limit: Rate = Field(
        None,
        alias="INGEST_POLL_RATE_LIMIT",
        description="status calls, per profile over all workers",
    )
    poll_price: float = Field(
        1.0,
        gt=0,
        alias="INGEST_POLL_PRICE",
        description="seconds of lag that one status call is worth to the learned schedule",
    )
    unreachable_after: float = Field(
        180.0,
        gt=0,
        alias="INGEST_UNREACHABLE_AFTER",
        description="seconds without reaching the service after which a `run` gives up",
    )

    @field_validator("base_url")
    @classmethod
    def _http_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        address = value.strip().rstrip("/")
        parts = urlsplit(address)
        spoiled = parts.query or parts.fragment or not address.isprintable() or " " in address
        if parts.scheme not in {"http", "https"} or not parts.hostname or spoiled:
            raise ValueError("write it as https://DOMAIN")
        try:
            port = parts.port
        except ValueError:  # its words quote what may be a misplaced password
            port = 0
        if port == 0:
            raise ValueError("its port is no number from 1 to 65535")
        if parts.username or parts.password:
            raise ValueError("keep credentials out of the address")
        return f"{parts.scheme}{address[len(parts.scheme) :]}"

    @field_validator("ca_bundle")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_file():
            raise ValueError(f"no such file: {value}")
        return value


class Profile(ServiceSettings):
    """One robot, flow and tenant of the service with its limits, complete and ready for use."""

    model_config = ConfigDict(populate_by_name=True, frozen=True)

    name: str

    def missing(self) -> list[str]:
        """The variables without which the service can't be spoken to."""
        needed = ("base_url", "robot_key", "robot_token", "username")
        return [
            str(ServiceSettings.model_fields[key].alias) for key in needed if not getattr(self, key)
        ]

    def credentials(self) -> Credentials:
        """Key, token and user name as they are sent."""
        if self.robot_key is None or self.robot_token is None or self.username is None:
            raise ConfigurationError(*(f"{name}: not set" for name in self.missing()))
        decode = unquote if self.decode_credentials else str
        return Credentials(
            robot_key=decode(self.robot_key.get_secret_value()),
            robot_token=decode(self.robot_token.get_secret_value()),
            username=self.username.get_secret_value(),
        )


def _list(value: object) -> object:
    """A comma list, or a JSON list."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        import json

        return json.loads(value)
    return [item.strip() for item in value.split(",") if item.strip()]


TextList = Annotated[list[str], NoDecode, BeforeValidator(_list)]


def _secrets_folder() -> str | None:
    """The folder of secrets; one that is named must be there, the usual one may be."""
    named = os.environ.get("INGEST_SECRETS_DIR")
    if named and not Path(named).is_dir():
        raise ConfigurationError(f"INGEST_SECRETS_DIR: no such folder: {named}")
    folder = named or "/run/secrets"
    return folder if Path(folder).is_dir() else None


class Settings(ServiceSettings, BaseSettings):
    """Everything that can be configured; the service's part is that of the default profile."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", env_ignore_empty=True
    )

    database_url: str = Field(
        "sqlite:///chatflow-ingest.db",
        alias="INGEST_DATABASE_URL",
        repr=False,  # may hold a password
        description="SQLAlchemy URL: SQLite, `postgresql+psycopg`, `mysql+pymysql`",
    )
    broker_url: str = Field(
        "memory://",
        alias="INGEST_BROKER_URL",
        repr=False,
        description="`redis://`, `rediss://`, `amqp://`, `amqps://`; `memory://` only embedded",
    )
    auto_migrate_choice: bool | None = Field(
        None,
        alias="INGEST_AUTO_MIGRATE",
        description="create or update the tables at start (default: on for SQLite)",
    )
    roots: TextList = Field(
        default_factory=lambda: [str(Path.cwd())],
        alias="INGEST_ROOTS",
        description="comma-separated folders and URL prefixes that files may come from",
    )
    profiles: OptionalText = Field(
        None, alias="INGEST_PROFILES", description="TOML file of further profiles"
    )
    webhook_secret: OptionalSecret = Field(
        None, alias="INGEST_WEBHOOK_SECRET", description="`whsec_…`, signs webhooks"
    )
    webhook_allow: TextList = Field(
        default_factory=list,
        alias="INGEST_WEBHOOK_ALLOW",
        description="URL prefixes that may be plain http or private addresses",
    )
    schedules: OptionalText = Field(
        None, alias="INGEST_SCHEDULES", description="TOML file of schedules for Beat"
    )
    secrets_dir: OptionalText = Field(
        None,
        alias="INGEST_SECRETS_DIR",
        description="folder of files named like the variables (default: `/run/secrets` if there)",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="INGEST_LOG_LEVEL", description="what is logged, to stderr"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", alias="INGEST_LOG_FORMAT", description="`auto`: text on a terminal, else JSON lines"
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        alias="INGEST_METRICS_PORT",
        description="port on which a worker shows Prometheus metrics; none: not shown",
    )

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        driver, separator, _ = value.partition("://")
        if not separator or driver.partition("+")[0] not in {
            "sqlite",
            "postgresql",
            "mysql",
            "mariadb",
        }:
            raise ValueError("use sqlite:///…, postgresql+psycopg://… or mysql+pymysql://…")
        plain = {
            "postgresql": "postgresql+psycopg",
            "mysql": "mysql+pymysql",
            "mariadb": "mariadb+pymysql",
        }
        return value.replace(driver, plain[driver], 1) if driver in plain else value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: str) -> str:
        known = (
            "redis://",
            "rediss://",
            "amqp://",
            "amqps://",
            "pyamqp://",
            "sentinel://",
            "memory://",
        )
        if not value.startswith(known):
            raise ValueError("use redis://, rediss://, amqp://, amqps:// or memory://")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _standard_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("whsec_"):
            raise ValueError("write it as whsec_ and base64")
        return value

    @field_validator("profiles", "schedules")
    @classmethod
    def _file(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_file():
            raise ValueError(f"no such file: {value}")
        return value

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the configuration; `overrides` are values by variable name, over all else.

        Raises:
            ConfigurationError: a line per fault, naming its variable.
        """
        try:
            settings = cls(_secrets_dir=_secrets_folder(), **overrides)  # type: ignore[call-arg]
        except ValidationError as error:
            raise ConfigurationError(*_faults(error)) from None
        settings.profile_names()
        return settings

    @property
    def auto_migrate(self) -> bool:
        """Whether to create or update the tables at start."""
        if self.auto_migrate_choice is None:
            return self.database_url.startswith("sqlite")
        return self.auto_migrate_choice

    @property
    def is_embedded(self) -> bool:
        """Whether there is no broker that other processes could reach."""
        return self.broker_url.startswith("memory://")

    def schedules_text(self) -> str:
        """What the schedules file says, "" when there is none.

        Raises:
            ConfigurationError: it can't be read.
        """
        if self.schedules is None:
            return ""
        try:
            return Path(self.schedules).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"INGEST_SCHEDULES: {self.schedules}: {error}") from None

    def require_broker(self) -> None:
        """Refuse the in-process broker, for what has to reach other processes.

        Raises:
            ConfigurationError: the broker is memory://.
        """
        if self.is_embedded:
            raise ConfigurationError(
                "INGEST_BROKER_URL: memory:// reaches no other process; set redis:// or amqp://"
            )

    def profile_names(self) -> list[str]:
        """The default profile and those of the profiles file."""
        return [DEFAULT_PROFILE, *(n for n in self._profile_tables() if n != DEFAULT_PROFILE)]

    def profile(self, name: str = DEFAULT_PROFILE, *, complete: bool = True) -> Profile:
        """One profile; what its table does not say is as the variables say.

        Credentials are taken over only together with the address: a key must not reach a
        domain that it was not given for.

        Raises:
            ConfigurationError: unknown, faulty, or (if `complete`) without address or credentials.
        """
        tables = self._profile_tables()
        if name != DEFAULT_PROFILE and name not in tables:
            known = ", ".join(self.profile_names())
            raise ConfigurationError(f"INGEST_PROFILES: no profile {name!r}; there are: {known}")
        values: dict[str, Any] = {key: getattr(self, key) for key in ServiceSettings.model_fields}
        table = tables.get(name, {})
        if "base_url" in table:
            values |= {"robot_key": None, "robot_token": None, "username": None}
        try:
            profile = Profile(name=name, **(values | table))
        except ValidationError as error:
            raise ConfigurationError(
                *_faults(error, where=f"INGEST_PROFILES [profiles.{name}]")
            ) from None
        if complete and profile.missing():
            place = "" if name == DEFAULT_PROFILE else f" (profile {name})"
            raise ConfigurationError(*(f"{v}: not set{place}" for v in profile.missing()))
        return profile

    def _profile_tables(self) -> dict[str, dict[str, Any]]:
        if self.profiles is None:
            return {}
        try:
            document = tomllib.loads(Path(self.profiles).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"INGEST_PROFILES: {self.profiles}: {error}") from None
        faults: list[str] = []
        tables = {
            name: _resolve_table(name, table, faults)
            for name, table in dict(document.get("profiles", {})).items()
        }
        faults += [
            f"INGEST_PROFILES: unknown table or key {k!r}" for k in document if k != "profiles"
        ]
        if faults:
            raise ConfigurationError(*faults)
        return tables


def _resolve_table(name: str, table: Any, faults: list[str]) -> dict[str, Any]:
    """The values of one profile's table, its secrets fetched from where it says they are."""
    where = f"INGEST_PROFILES [profiles.{name}]"
    if not isinstance(table, dict) or not _PROFILE_NAME.fullmatch(name):
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


def _faults(error: ValidationError, where: str | None = None) -> list[str]:
    """One line per fault; never the value, which may be a secret."""
    lines = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        place = str(fault["loc"][0]) if fault["loc"] else "configuration"
        message = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{where} {place}: {message}" if where else f"{place}: {message}")
    return lines


def variables() -> list[tuple[str, str, str]]:
    """Every variable with its default as text and its description, for the README."""
    return [
        (str(f.alias), _default_text(f), f.description or "")
        for f in Settings.model_fields.values()
    ]


def _default_text(field: FieldInfo) -> str:
    if field.alias == "INGEST_ROOTS":
        return "the working directory"
    default = field.get_default(call_default_factory=True)
    match default:
        case None | []:
            return "none"
        case bool():
            return "on" if default else "off"
        case float() if default.is_integer():
            return str(int(default))
        case _:
            return str(default)
