"""What may differ between profiles: the service, the account, the limits."""

from __future__ import annotations

from typing import Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field

from worker.core.lifecycle import SettleAt
from worker.core.model.wire import Credentials
from worker.errors import ConfigurationError
from worker.settings.values import (
    DAY,
    Count,
    ExistingFile,
    Finite,
    HttpAddress,
    OptionalCount,
    OptionalSecret,
    OptionalText,
    Rate,
    Span,
    SuccessStatuses,
)


class ServiceSettings(BaseModel):
    """What may differ between profiles: the service, the account, the limits."""

    base_url: HttpAddress = Field(
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
    success_statuses: SuccessStatuses = Field(
        (5, 7),
        alias="CHATFLOW_SUCCESS_STATUSES",
        description="`5,7,8`: 8 with contents is a success too, as in OCR mode, and 8 without is "
        "asked about again",
    )
    dialog_timeout: Finite = Field(
        30.0,
        gt=0,
        le=3600,
        alias="CHATFLOW_DIALOG_TIMEOUT",
        description="seconds for one dialog to reach its upload node",
    )
    ca_bundle: ExistingFile = Field(
        None,
        alias="CHATFLOW_CA_BUNDLE",
        description="file of trusted certificates instead of the system's; TLS is always verified",
    )
    max_file_bytes: Count = Field(
        1024**3,
        gt=0,
        le=1024**4,
        alias="INGEST_MAX_FILE_BYTES",
        description="largest file that is uploaded",
    )
    poll_deadline: Finite = Field(
        3600.0,
        gt=0,
        le=365 * DAY,
        alias="INGEST_POLL_DEADLINE",
        description="seconds after submission until a file is `timed_out`",
    )
    max_upload_attempts: Count = Field(
        5,
        ge=1,
        le=1000,
        alias="INGEST_MAX_UPLOAD_ATTEMPTS",
        description="uploads of one file (taken, refused or unknown) before it fails",
    )
    on_unknown_upload: Literal["resubmit", "fail"] = Field(
        "resubmit",
        alias="INGEST_ON_UNKNOWN_UPLOAD",
        description="what a lost upload reply leads to: `resubmit` or `fail`",
    )
    max_concurrent_uploads: Count = Field(
        8,
        ge=1,
        le=10_000,
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
    poll_price: Finite = Field(
        1.0,
        gt=0,
        le=DAY,
        alias="INGEST_POLL_PRICE",
        description="seconds of lag that one status call is worth to the learned schedule",
    )
    reuse_results: Span = Field(
        None,
        alias="INGEST_REUSE_RESULTS",
        description='"30d": bytes that succeeded within that time are not uploaded again',
    )
    break_after: OptionalCount = Field(
        None,
        alias="INGEST_BREAK_AFTER",
        description="failures in a row, of one category and code, that hold its other files",
    )
    unreachable_after: Finite = Field(
        180.0,
        gt=0,
        le=30 * DAY,
        alias="INGEST_UNREACHABLE_AFTER",
        description="seconds without reaching the service after which a `run` gives up",
    )


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
