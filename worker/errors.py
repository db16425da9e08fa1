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
    ├── NothingFound             the files that were named are none
    ├── ProfileStopped           stop everything for this profile and call a human
    │   ├── CredentialsRefused     the service does not know the key, the token or the user
    │   └── Redirected             the service lives somewhere else than we were told
    ├── StoreFault               the database refused a statement: a mistake of ours, this item only
    ├── WorkerEnded              nobody works any more on what is waited for
    └── UsageError               the user's input or set-up; says the cause and the cure, exit 2
        ├── ConfigurationError
        ├── UnknownBatch
        ├── UnknownFile
        ├── Ambiguous
        ├── NoDatabase
        ├── DatabaseBehind
        └── RunInProgress
"""

from __future__ import annotations

from typing import Literal

from worker.codes import ErrorCode

Channel = Literal["upload", "status"]
"""The two kinds of service call that have gates, freezes and budgets of their own."""


class IngestError(Exception):
    """Anything this project raises on purpose."""

    code: str = ErrorCode.ERROR
    """A short, fixed word that reaches ``error_code`` of a file and the logs."""

    blames_credentials: bool = False
    """Whether the service gave the credentials as its reason: a suspicion that a dialog with
    the same ones confirms or not, since firewalls and single rights answer like that too."""

    seconds: float | None = None
    """How long the call took that failed, where it was one."""

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

    code = ErrorCode.TRY_LATER


class ServiceUnreachable(TryLater):
    """No connection to the service came about, so nothing of the request was sent."""

    code = ErrorCode.SERVICE_UNREACHABLE


class ServiceBusy(TryLater):
    """The service said 429 or 503: the request was not processed, the whole fleet should pause.

    Attributes:
        retry_after: seconds the service asked for, or None when it named none.
        everything: True for 503 (all calls), False for 429 (only calls of this kind).
    """

    code = ErrorCode.SERVICE_BUSY

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

    code = ErrorCode.SERVICE_FAULT

    def __init__(
        self, message: str, *, code: str | None = None, blames_credentials: bool = False
    ) -> None:
        super().__init__(message, code=code)
        self.blames_credentials = blames_credentials


class StoreUnavailable(TryLater):
    """The database can't be reached or is restarting."""

    code = ErrorCode.STORE_UNAVAILABLE


class StoreFault(IngestError):
    """The database answered, and refused a statement or a value: repeating it is pointless.

    A mistake of ours: it concerns the item that was to be written, and nothing else.
    """

    code = ErrorCode.STORE_FAULT


class UploadUnknown(IngestError):
    """The upload's reply was lost after the request had started; it may have been taken.

    The service offers no look-up, so only a rule (resubmit or fail) can settle it.
    """

    code = ErrorCode.UPLOAD_UNKNOWN


class GiveUp(IngestError):
    """This file, or this dialog, will not get better by itself."""

    code = ErrorCode.GIVE_UP


class UploadRefused(GiveUp):
    """The service answered an upload with no; for certain it did not take the file.

    Attributes:
        permanent: True when repeating is pointless (an HTTP 4xx other than 401, 403, 408 and
            425); an envelope code other than success is tried again up to the attempt limit.
    """

    code = ErrorCode.UPLOAD_REFUSED

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        permanent: bool = False,
        blames_credentials: bool = False,
    ) -> None:
        super().__init__(message, code=code)
        self.permanent = permanent
        self.blames_credentials = blames_credentials


class NoUploadNode(GiveUp):
    """The dialog ended, or failed with an error code or error text, without an upload node."""

    code = ErrorCode.NO_UPLOAD_NODE


class SourceRejected(GiveUp):
    """The file can't be read or may not be: its ``code`` is the reason of the rejection."""

    code = ErrorCode.REJECTED


class SourceAway(SourceRejected):
    """The place that the file lies at is out of reach for the moment: it is looked at again."""


class NothingFound(IngestError):
    """What the user named holds no file; the message says how to widen the search."""

    code = ErrorCode.NOTHING_FOUND


class ProfileStopped(IngestError):
    """Nothing of this profile can go well before a human has mended its settings.

    A run ends; a fleet pauses the profile until a dialog goes well.
    """

    code = ErrorCode.PROFILE_STOPPED


class CredentialsRefused(ProfileStopped):
    """The service does not accept the key, the token or the user name."""

    code = ErrorCode.CREDENTIALS_REFUSED


class Redirected(ProfileStopped):
    """The service answered with a redirect: the base address is not its own.

    Nothing was followed, for our headers and the file would have gone there.
    """

    code = ErrorCode.REDIRECTED


class WorkerEnded(IngestError):
    """The worker inside this process ended by itself; its log says why."""

    code = ErrorCode.WORKER_ENDED


class UsageError(IngestError):
    """What the user asked for can't be done as asked; the message names cause and cure."""

    code = ErrorCode.USAGE


class ConfigurationError(UsageError):
    """One or more settings are missing or wrong.

    Attributes:
        faults: one line per fault, each naming its variable.
    """

    code = ErrorCode.CONFIGURATION

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class UnknownBatch(UsageError):
    """No batch has this id."""

    code = ErrorCode.UNKNOWN_BATCH


class UnknownFile(UsageError):
    """No file has this id."""

    code = ErrorCode.UNKNOWN_FILE


class Ambiguous(UsageError):
    """A name means more than one batch or file; the message lists them."""

    code = ErrorCode.AMBIGUOUS


class NoDatabase(UsageError):
    """There is no database yet, and a command that only looks makes none."""

    code = ErrorCode.NO_DATABASE


class DatabaseBehind(UsageError):
    """The database lacks the tables, or has those of another version."""

    code = ErrorCode.DATABASE_BEHIND


class DatabaseNewer(DatabaseBehind):
    """The database has the tables of a newer version: no upgrade helps."""


class RunInProgress(UsageError):
    """Another embedded run works on this database."""

    code = ErrorCode.RUN_IN_PROGRESS
