"""Everything that can be configured, and where it is read: the environment, `.env`, secrets."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from worker.core.source_options import SourceOptions
from worker.core.timings import Timings
from worker.errors import ConfigurationError
from worker.settings.brokers import check_broker
from worker.settings.faults import fault_lines
from worker.settings.profiles import profile_tables
from worker.settings.service import Profile, ServiceSettings
from worker.settings.values import (
    BrokerAddress,
    DatabaseAddress,
    ExistingFile,
    JsonObject,
    Namespace,
    OptionalText,
    OptionsByPlace,
    Roots,
    SigningSecret,
    TextList,
    TimingsByName,
)

DEFAULT_PROFILE = "default"
DOT_ENV = ".env"
USUAL_SECRETS = "/run/secrets"


class Settings(ServiceSettings, BaseSettings):
    """Everything that can be configured; the service's part is that of the default profile."""

    model_config = SettingsConfigDict(
        env_file=DOT_ENV, env_file_encoding="utf-8", extra="ignore", env_ignore_empty=True
    )

    database_url: DatabaseAddress = Field(
        "sqlite:///chatflow-ingest.db",
        alias="INGEST_DATABASE_URL",
        repr=False,  # may hold a password
        description="SQLAlchemy URL: SQLite, `postgresql+psycopg`, `mysql+pymysql`",
    )
    database_pooler: Literal["none", "transaction"] = Field(
        "none",
        alias="INGEST_DATABASE_POOLER",
        description="`transaction`: PostgreSQL is reached through PgBouncer in transaction mode",
    )
    broker_url: BrokerAddress = Field(
        "memory://",
        alias="INGEST_BROKER_URL",
        repr=False,
        description="`redis://`, `rediss://`, `sentinel://`, `amqp://`, `amqps://`, several with"
        " `;` between them; `memory://` only embedded",
    )
    broker_options: JsonObject = Field(
        default_factory=dict,
        alias="INGEST_BROKER_OPTIONS",
        repr=False,
        description="JSON object for the broker's client: `master_name` and `sentinel_kwargs` for"
        " `sentinel://`; `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` for TLS; ...",
    )
    namespace: Namespace = Field(
        None,
        alias="INGEST_NAMESPACE",
        description="stands before the names of queues and keys, for several installations on one"
        " broker: `NAMESPACE.celery` is then the queue to send to",
    )
    auto_migrate_choice: bool | None = Field(
        None,
        alias="INGEST_AUTO_MIGRATE",
        description="create or update the tables at start (default: on for SQLite)",
    )
    roots: Roots = Field(
        default_factory=lambda: [str(Path.cwd())],
        alias="INGEST_ROOTS",
        description="comma-separated folders and URL prefixes that files may come from",
    )
    source_options_by_place: OptionsByPlace = Field(
        default_factory=dict,
        alias="INGEST_SOURCE_OPTIONS",
        repr=False,
        description="JSON object, or the path of a file of it: options of sources' drivers (hosts,"
        " endpoints, keys, `block_size`), by scheme or beginning of a URL",
    )
    profiles: ExistingFile = Field(
        None, alias="INGEST_PROFILES", description="TOML file of further profiles"
    )
    webhook_secret: SigningSecret = Field(
        None, alias="INGEST_WEBHOOK_SECRET", description="`whsec_…`, signs webhooks"
    )
    webhook_allow: TextList = Field(
        default_factory=list,
        alias="INGEST_WEBHOOK_ALLOW",
        description="URL prefixes that may be plain http or private addresses",
    )
    schedules: ExistingFile = Field(
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
        "auto",
        alias="INGEST_LOG_FORMAT",
        description="`auto`: text on a terminal and from commands, else JSON lines",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        alias="INGEST_METRICS_PORT",
        description="port on which a worker shows Prometheus metrics; none: not shown",
    )

    timings: TimingsByName = Field(
        default_factory=Timings,
        alias="INGEST_TIMINGS",
        description="JSON object of how long a process may be silent before others act for it, in"
        " seconds; the same for all of a fleet, and seldom worth a change",
    )
    metrics_address: str = Field(
        "127.0.0.1",
        alias="INGEST_METRICS_ADDRESS",
        description="address on which they are shown; `0.0.0.0`: on all of the machine's",
    )

    @model_validator(mode="after")
    def _through_pooler(self) -> Self:
        """The pooler travels in the address, which everything that connects is given."""
        if self.database_pooler == "none" or "pooler=" in self.database_url:
            return self
        if not self.database_url.startswith("postgresql"):
            raise ValueError("INGEST_DATABASE_POOLER: only PostgreSQL is used through a pooler")
        mark = "&" if "?" in self.database_url else "?"
        self.database_url = f"{self.database_url}{mark}pooler={self.database_pooler}"
        return self

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the configuration; `overrides` are values by variable name, over all else.

        Raises:
            ConfigurationError: a line per fault, naming its variable.
        """
        secrets = secrets_folder()
        _check_readable(secrets)
        try:
            settings = cls(_secrets_dir=secrets, **overrides)  # type: ignore[call-arg]
        except ValidationError as error:
            raise ConfigurationError(*fault_lines(error)) from None
        except SettingsError as error:
            raise ConfigurationError(str(error)) from None
        settings.profile_names()
        check_broker(settings.broker_url, settings.broker_options)
        return settings

    @property
    def source_options(self) -> SourceOptions:
        """What the drivers of sources are told."""
        return SourceOptions(self.source_options_by_place)

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
        return [
            DEFAULT_PROFILE,
            *(n for n in profile_tables(self.profiles) if n != DEFAULT_PROFILE),
        ]

    def profile(self, name: str = DEFAULT_PROFILE, *, complete: bool = True) -> Profile:
        """One profile; what its table does not say is as the variables say.

        Credentials are taken over only together with the address: a key must not reach a
        domain that it was not given for.

        Raises:
            ConfigurationError: unknown, faulty, or (if `complete`) without address or credentials.
        """
        tables = profile_tables(self.profiles)
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
                *fault_lines(error, where=f"INGEST_PROFILES [profiles.{name}]")
            ) from None
        if complete and profile.missing():
            place = "" if name == DEFAULT_PROFILE else f" (profile {name})"
            raise ConfigurationError(*(f"{v}: not set{place}" for v in profile.missing()))
        return profile


def secrets_folder() -> str | None:
    """The folder of secrets; one that is named must be there, the usual one may be."""
    named = os.environ.get("INGEST_SECRETS_DIR")
    if named and not Path(named).is_dir():
        raise ConfigurationError(f"INGEST_SECRETS_DIR: no such folder: {named}")
    folder = named or USUAL_SECRETS
    return folder if Path(folder).is_dir() else None


def _check_readable(folder: str | None) -> None:
    """Look at the files that configuration is read from; never say what stands in them.

    Raises:
        ConfigurationError: one is there, as a file or a link, and can't be read as text.
    """
    names = [str(field.alias) for field in Settings.model_fields.values()]
    secrets = [Path(folder) / name for name in names] if folder else []
    for path in (Path(DOT_ENV), *secrets):
        if not path.is_symlink() and not path.is_file():
            continue
        try:
            path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{path}: can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path}: is no text in UTF-8") from None


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
        case tuple():
            return ",".join(map(str, default))
        case Timings():
            return json.dumps({name: int(value) for name, value in asdict(default).items()})
        case float() if default.is_integer():
            return str(int(default))
        case _:
            return str(default)
