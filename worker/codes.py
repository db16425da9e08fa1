"""The fixed words for what went wrong, each with its meaning and its cure.

A code is what a program can ask for: it stands in `error_code` of a file, in its events and
uploads, and in the logs. The words beside it are for people, and may change.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ErrorCode(StrEnum):
    """Every code of our own; a code that is not here is the service's, passed on as it came.

    A member is its word, what it means, and what to do about it.
    """

    meaning: str
    cure: str

    def __new__(cls, word: str, meaning: str, cure: str) -> Self:
        """A word that carries its explanation."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        member.cure = cure
        return member

    # fmt: off
    # --- the file itself: it ends as `rejected`, nothing was sent -------------------------------
    NOT_FOUND = "not_found", "the file is not there", "check the path or address as the worker sees it, then `retry`"
    NOT_A_FILE = "not_a_file", "a folder, pipe, socket or device", "hand in regular files"
    UNREADABLE = "unreadable", "the file can't be opened or read to its end", "let the worker's user read it, then `retry`"
    EMPTY = "empty", "the file has no bytes", "hand it in again when it has been written"
    TOO_LARGE = "too_large", "more bytes than are allowed", "split it, or raise `INGEST_MAX_FILE_BYTES`, then `retry`"
    OUTSIDE_ROOTS = "outside_roots", "the file lies outside the allowed folders and addresses", "move it there, or add its place to `INGEST_ROOTS`"
    PASSWORD_IN_ADDRESS = "password_in_address", "the address holds a password, key or signature, which would be stored with it", "write it into `INGEST_SOURCE_OPTIONS`, and hand the address in without it"
    CHANGED = "changed", "the file changed while it was read, or since it was uploaded", "hand it in again when it is complete"
    UNSUPPORTED_FORMAT = "unsupported_format", "no category of the service takes this format", "convert the file, or have the format added to a category"
    NO_SUCH_CATEGORY = "no_such_category", "the batch asks for a category that the service does not offer", "hand it in with one of those that the message names"
    REJECTED = "rejected", "the file may not be ingested", "see the message"

    # --- on the way to the service ---------------------------------------------------------------
    UPLOAD_REFUSED = "upload_refused", "the service answered an upload with no", "see the message; `retry` once the reason is gone"
    UPLOAD_UNKNOWN = "upload_unknown", "the upload's reply was lost: the service may or may not have the file", "`INGEST_ON_UNKNOWN_UPLOAD` decides by itself; `retry` uploads again"
    REUSED = "reused", "the same bytes were ingested before: their result is this file's too", "none needed; `--force` uploads them again"
    BREAKER_OPEN = "breaker_open", "one file after another of its category failed for the same reason", "one at a time goes ahead by itself; `retry` lets all go, once the reason is gone"
    SAME_IN_FLIGHT = "same_in_flight", "the same bytes are being ingested as another file", "it waits for their result"
    NO_UPLOAD_NODE = "no_upload_node", "the dialog ended without a place to upload to", "publish a flow with an upload node, try it with `doctor`, then `retry`"
    CREDENTIALS_REFUSED = "credentials_refused", "the service does not accept key, token or user name", "correct the profile's credentials; a fleet then goes on by itself"
    REDIRECTED = "redirected", "the service sends us to another address, and credentials are sent to none but the configured one", "set `CHATFLOW_BASE_URL` to the address that the message names"
    PROFILE_STOPPED = "profile_stopped", "nothing of this profile works before its settings are mended", "see the message; a fleet then goes on by itself"
    SERVICE_UNREACHABLE = "service_unreachable", "no connection to the service came about; nothing was sent", "it is tried again by itself; check address, network and TLS"
    SERVICE_BUSY = "service_busy", "the service answered 429 or 503", "it is tried again by itself; lower the rates if it persists"
    SERVICE_FAULT = "service_fault", "the service failed: 5xx, silence or a broken reply", "it is tried again by itself; if it persists, ask the service's operator"
    SERVICE_UNAVAILABLE = "service_unavailable", "an embedded `run` gave up on a service that it could not reach", "start the same `run` again when the service is back"

    # --- what the service makes of the file ------------------------------------------------------
    UPLOAD_FAILED = "upload_failed", "status 3: the service failed to take the file, as often as it may be tried", "`retry`"
    PARSE_FAILED = "parse_failed", "status 6: the service failed to parse the file", "look at the file; `retry` uploads it again"
    FLOW_FAILED = "flow_failed", "status 8: the flow failed; what parsing brought is kept", "ask the flow's owner; `retry` uploads it again"
    DEADLINE = "deadline", "no final status before `INGEST_POLL_DEADLINE`", "`retry` asks on without another upload"
    THROTTLED = "throttled", "the file was given back unworked: the service had asked for a rest", "it goes on by itself when the rest is over"
    NO_DIALOG = "no_dialog", "the file was given back unworked: no dialog came about", "it goes on by itself; see `doctor` if it persists"
    DRAINED = "drained", "the file was given back unworked: its worker was told to stop", "another worker takes it up"
    UNKNOWN_STATUS = "unknown_status", "the service named a status that its protocol does not", "it is asked again until the deadline; tell us the number"
    CONTENTS_TOO_LARGE = "contents_too_large", "the database refuses contents of this size", "raise MariaDB's `max_allowed_packet`, then `retry`"
    POISON = "poison", "several workers in a row died or froze while they held the file", "look for it in the workers' last log lines; then `retry`"

    # --- afterwards: schedules and notifications -------------------------------------------------
    NAME_TAKEN = "name_taken", "`after = \"move:DIR\"`: too many files of this name are there", "clear the folder"
    TAKE_AWAY_FAILED = "take_away_failed", "the ingested file can't be deleted or moved", "see the message; the file stays where it is"
    IO_ERROR = "io_error", "a file system was out of order for the moment", "it is tried again by itself"
    WEBHOOK_REFUSED = "webhook_refused", "the notification's address is not allowed", "allow it with `INGEST_WEBHOOK_ALLOW`, then `notify replay`"
    WEBHOOK_UNSIGNED = "webhook_unsigned", "no secret to sign the webhook with", "set `INGEST_WEBHOOK_SECRET`"
    NOTIFY_UNREADABLE = "notify_unreadable", "what a batch's `notify` says can't be read", "hand in again with a proper `notify`"
    WEBHOOK_GONE = "webhook_gone", "the receiver answered 410: it wants no more", "hand in with another address"

    # --- us --------------------------------------------------------------------------------------
    STORE_UNAVAILABLE = "store_unavailable", "the database is away or restarting", "it is tried again by itself"
    STORE_FAULT = "store_fault", "the database refused a statement or a value", "a mistake of ours: report it with the log line"
    UNEXPECTED = "unexpected", "an error that nobody thought of", "report it with the log line"
    USAGE = "usage", "what was asked for can't be done as asked", "see the message"
    CONFIGURATION = "configuration", "a setting is missing or wrong", "correct the variables that the message names"
    NOTHING_FOUND = "nothing_found", "what was named holds no file", "see the message: it says how to widen the search"
    UNKNOWN_BATCH = "unknown_batch", "no batch has this id", "`status` lists the batches"
    UNKNOWN_FILE = "unknown_file", "no file has this id", "`results` lists the files of a batch"
    AMBIGUOUS = "ambiguous", "several batches or files have this name", "give more of the name, or the id"
    DATABASE_BEHIND = "database_behind", "the database's tables are not those of this version", "`db upgrade`"
    NO_DATABASE = "no_database", "there is no database yet", "hand something in, or `db upgrade`"
    RUN_IN_PROGRESS = "run_in_progress", "another embedded run works on this database", "wait for it, or use another database"
    WORKER_ENDED = "worker_ended", "the worker inside the process of a `run` ended by itself", "see the log, then `run --resume`"
    TRY_LATER = "try_later", "waiting may cure it", "it is tried again by itself"
    GIVE_UP = "give_up", "it will not get better by itself", "see the message"
    ERROR = "error", "something went wrong", "see the message"
    # fmt: on


def of_http_status(status: int) -> str:
    """The code of an HTTP answer without an envelope that says more: `http_404`."""
    return f"http_{status}"
