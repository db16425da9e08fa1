"""Every error of the project, split by what the caller does next.

::

    IngestError
    ├── TryLater                 wait, then make the same call again
    │   ├── ServiceUnreachable     no connection: for certain nothing was sent
    │   ├── ServiceBusy            429 or 503, with the service's own wish how long to wait
    │   ├── ServiceFault           5xx, silence or a broken reply
    │   └── StoreUnavailable       the database is away
    ├── UploadUnknown            the upload went out, its reply was lost: never repeat blindly
    ├── GiveUp                   this file, or this dialog, will not get better by itself
    │   ├── UploadRefused          the service answered no
    │   ├── NoUploadNode           the dialog ended without a place to upload to
    │   └── SourceRejected         the file can't be read, or may not be
    ├── CredentialsRefused       stop everything for this profile and call a human
    └── UsageError               the user's input or set-up; says the cause and the cure, exit 2
        ├── ConfigurationError
        ├── UnknownBatch
        ├── UnknownFile
        ├── DatabaseBehind
        └── RunInProgress
"""

from __future__ import annotations

from typing import Literal

Channel = Literal["upload", "status"]
"""The two kinds of service call that have gates, freezes and budgets of their own."""


class IngestError(Exception):
    """Anything this project raises on purpose."""

    code: str = "error"
    """A short, fixed word that reaches ``error_code`` of a file and the logs."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code

    @property
    def message(self) -> str:
        """What happened, in words an operator can read."""
        return str(self)


class TryLater(IngestError):
    """Waiting may cure it; the caller makes the same call again later."""

    code = "try_later"


class ServiceUnreachable(TryLater):
    """No connection to the service came about, so nothing of the request was sent."""

    code = "service_unreachable"


class ServiceBusy(TryLater):
    """The service said 429 or 503: the request was not processed, the whole fleet should pause.

    Attributes:
        retry_after: seconds the service asked for, or None when it named none.
        everything: True for 503 (all calls), False for 429 (only calls of this kind).
    """

    code = "service_busy"

    def __init__(
        self, message: str, *, retry_after: float | None = None, everything: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.everything = everything


class ServiceFault(TryLater):
    """The service failed on a call that may be repeated: 5xx, silence, a broken reply.

    For a dialog: a reset, a close code 1011 to 1013, or no frame before the deadline.
    """

    code = "service_fault"


class StoreUnavailable(TryLater):
    """The database can't be reached or is restarting."""

    code = "store_unavailable"


class UploadUnknown(IngestError):
    """The upload's reply was lost after the request had started; it may have been taken.

    The service offers no look-up, so only a rule (resubmit or fail) can settle it.
    """

    code = "upload_unknown"


class GiveUp(IngestError):
    """This file, or this dialog, will not get better by itself."""

    code = "give_up"


class UploadRefused(GiveUp):
    """The service answered an upload with no; for certain it did not take the file.

    Attributes:
        permanent: True when repeating is pointless (an HTTP 4xx); an envelope code other
            than success is tried again up to the attempt limit.
    """

    code = "upload_refused"

    def __init__(self, message: str, *, code: str | None = None, permanent: bool = False) -> None:
        super().__init__(message, code=code)
        self.permanent = permanent


class NoUploadNode(GiveUp):
    """The dialog ended, or failed with an error code or error text, without an upload node."""

    code = "no_upload_node"


class SourceRejected(GiveUp):
    """The file can't be read or may not be: its ``code`` is the reason of the rejection."""

    code = "rejected"


class CredentialsRefused(IngestError):
    """The service does not accept the key, the token or the user name."""

    code = "credentials_refused"


class UsageError(IngestError):
    """What the user asked for can't be done as asked; the message names cause and cure."""

    code = "usage"


class ConfigurationError(UsageError):
    """One or more settings are missing or wrong.

    Attributes:
        faults: one line per fault, each naming its variable.
    """

    code = "configuration"

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class UnknownBatch(UsageError):
    """No batch has this id."""

    code = "unknown_batch"


class UnknownFile(UsageError):
    """No file has this id."""

    code = "unknown_file"


class DatabaseBehind(UsageError):
    """The database lacks the tables, or has those of another version."""

    code = "database_behind"


class RunInProgress(UsageError):
    """Another embedded run works on this database."""

    code = "run_in_progress"
