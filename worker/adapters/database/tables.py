"""The tables: small hot rows in `files`, contents and history apart.

Every moment is in UTC and the database's own. `files.lane` says which step a file waits for, and
is the heart of the queue's indexes:

==================  ===========================================================================
``submit``          queued and due: taken in the order of the turns
``submit_later``    leased by a submitter, or queued for a later moment: ordered by `next_at`
``poll``            waits for a status call, leased or not: ordered by `next_at`
NULL                terminal
==================  ===========================================================================

A row that comes due in ``submit_later`` is moved to ``submit`` by the next claim, so a claim walks
past no row that it can't have, however many low turns are leased or backing off. `next_at` of a
leased row is its lease's end, so the same index finds what a dead worker left.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from worker.adapters.database.engine.types import IDENTIFIER, LONG_TEXT, MOMENT, SERIAL

CODE_LIMIT = 64
MESSAGE_LIMIT = 4000
NAME_LIMIT = 190
FORMAT_LIMIT = 32

READY, LATER, POLL = "submit", "submit_later", "poll"

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

MARIADB_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def _table(name: str, *items: Any, **options: Any) -> Table:
    return Table(name, metadata, *items, **MARIADB_OPTIONS, **options)


def _counter(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def _moment(name: str, *, nullable: bool = True, primary_key: bool = False) -> Column[Any]:
    return Column(name, MOMENT, nullable=nullable, primary_key=primary_key)


def _partial(condition: str) -> dict[str, Any]:
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


batches = _table(
    "batches",
    Column("id", IDENTIFIER, primary_key=True),
    Column("external_key", Text),
    Column("profile", String(NAME_LIMIT), nullable=False),
    Column("crew", String(NAME_LIMIT), nullable=False),
    Column("category", Text),
    Column("inputs", LONG_TEXT),
    Column("notify", Text),
    Column("after_rule", Text),
    Column("state", String(16), nullable=False),
    _counter("next_turn"),
    _moment("created_at", nullable=False),
    _moment("sealed_at"),
    _moment("finished_at"),
    Column("reason", Text),  # why it was refused
    Index("ix_batches_created_at", "created_at"),
    Index("ix_batches_state", "state", "created_at"),
    Index("ix_batches_finished_at", "finished_at", "created_at"),  # what has not ended, and prune
)

batch_parts = _table(
    "batch_parts",
    Column("batch_id", IDENTIFIER, ForeignKey("batches.id"), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("parts", Integer, nullable=False),
    Column("hand_in", String(36), primary_key=True, server_default=""),
)

files = _table(
    "files",
    Column("id", IDENTIFIER, primary_key=True),
    Column("batch_id", IDENTIFIER, ForeignKey("batches.id"), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("crew", String(NAME_LIMIT), nullable=False),
    Column("source", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("lane", String(16)),
    _moment("next_at"),
    Column("lease_token", IDENTIFIER),
    _moment("lease_until"),
    Column("recorded_token", IDENTIFIER),  # the lease whose verdict was written last
    _counter("deaths"),
    _counter("upload_attempts"),  # in all, for the reader
    _counter("attempts_used"),  # since it was handed in or retried, for the limit
    _counter("failures"),
    _counter("polls"),
    Column("size", BigInteger),
    Column("sha256", String(64)),
    Column("category", Text),
    Column("chatflow_file_id", Text),
    Column("service_status", BigInteger),
    Column("parsed", Boolean, nullable=False, server_default=false()),
    Column("error_code", String(CODE_LIMIT)),
    Column("error_message", Text),
    _moment("created_at", nullable=False),
    _moment("submitted_at"),
    _moment("asked_at"),  # for its status, since its last upload
    _moment("deadline_at"),
    Column("deadline_seconds", Double),  # what a retry starts afresh with
    _moment("finished_at"),
    Column("after_rule", Text),  # NULL when there is none, or when it was carried out
    Column("forced", Boolean, nullable=False, server_default=false()),  # no result is reused
    Column("reuse_key", String(64)),  # of what is in flight or was uploaded: see core/reuse.py
    Column("reused_from", IDENTIFIER),  # the file whose result this is
    Column("waits_for", IDENTIFIER),  # a file like this one that is in flight, or a breaker
    Index("ix_files_due", "lane", "crew", "next_at", **_partial("lane IS NOT NULL")),
    Index("ix_files_ready", "lane", "crew", "turn", **_partial("lane = 'submit'")),
    Index("ix_files_lease_token", "lease_token", **_partial("lease_token IS NOT NULL")),
    Index("ix_files_turn", "batch_id", "turn", unique=True),
    Index("ix_files_state", "batch_id", "state", "submitted_at"),
    Index(
        "ix_files_leftover",
        "after_rule",
        "state",
        mysql_length={"after_rule": 16},
        **_partial("after_rule IS NOT NULL"),
    ),
    Index("ix_files_reuse_key", "reuse_key", **_partial("reuse_key IS NOT NULL")),
    Index("ix_files_waits_for", "waits_for", **_partial("waits_for IS NOT NULL")),
    Index(
        "ix_files_retrying",
        "error_code",
        "crew",
        **_partial("lane IS NOT NULL AND error_code IS NOT NULL"),
    ),
    # A queue's rows change all the time: vacuum long before a fifth of them is dead.
    postgresql_with={"autovacuum_vacuum_scale_factor": "0.02"},
)

results = _table(
    "results",
    Column("file_id", IDENTIFIER, ForeignKey("files.id"), primary_key=True),
    Column("parse_content", LONG_TEXT),
    Column("parse_segments", LONG_TEXT),
    Column("llm_content", LONG_TEXT),
    Column("sanitized", Boolean, nullable=False, server_default=false()),
    Column("content_size", BigInteger, nullable=False),  # characters, so that pages stay small
    _moment("recorded_at", nullable=False),
)

file_events = _table(
    "file_events",
    Column("id", SERIAL, primary_key=True),
    Column("file_id", IDENTIFIER, ForeignKey("files.id"), nullable=False),
    _moment("at", nullable=False),
    Column("event", String(CODE_LIMIT), nullable=False),
    Column("state", String(16), nullable=False),
    Column("code", String(CODE_LIMIT)),
    Column("message", Text),
    Column("seconds", Double),  # that a call took which failed
    Index("ix_file_events_file_id", "file_id"),
)

dialogs = _table(
    "dialogs",
    Column("id", IDENTIFIER, primary_key=True),
    Column("profile", String(NAME_LIMIT), nullable=False),
    Column("chatflow_dialog_id", Text),
    Column("session_id", Text),
    Column("flow_uuid", Text),
    Column("node_id", Text),
    _moment("opened_at", nullable=False),
)

uploads = _table(
    "uploads",
    Column("id", IDENTIFIER, primary_key=True),
    Column("file_id", IDENTIFIER, ForeignKey("files.id"), nullable=False),
    Column("dialog_id", IDENTIFIER, ForeignKey("dialogs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("lease_token", IDENTIFIER, nullable=False),  # under which it was begun
    Column("category", Text),
    Column("size", BigInteger),
    Column("chatflow_file_id", Text),
    Column("code", String(CODE_LIMIT)),
    Column("message", Text),
    _moment("created_at", nullable=False),
    _moment("sent_at"),
    _moment("ended_at"),
    UniqueConstraint("file_id", "attempt"),
    Index("ix_uploads_dialog_id", "dialog_id"),
    Index("ix_uploads_unknown", "created_at", **_partial("state = 'unknown'")),
)

service_state = _table(
    "service_state",
    Column("profile", String(NAME_LIMIT), primary_key=True),
    Column("channel", String(16), primary_key=True),
    _moment("frozen_until"),  # NULL: open; over, but not NULL: waits for a probe
    _counter("strikes"),
    _moment("first_frozen_at"),
    Column("reason", Text),
    _moment("probe_until"),
    Column("probe_token", IDENTIFIER),
)

breakers = _table(
    "breakers",
    Column("id", IDENTIFIER, primary_key=True),  # computed from the two
    Column("profile", String(NAME_LIMIT), nullable=False),
    Column("category", Text, nullable=False),
    Column("code", String(CODE_LIMIT), nullable=False),
    Column("failures", Integer, nullable=False),
    _moment("opened_at"),  # NULL: closed, but counting
    Column("canary", IDENTIFIER),
    _moment("canary_at"),
)

pauses = _table(
    "pauses",
    Column("profile", String(NAME_LIMIT), primary_key=True),
    _moment("paused_at", nullable=False),
    Column("reason", Text),
    _moment("probe_at", nullable=False),  # not before this moment
)

budgets = _table(
    "budgets",
    Column("profile", String(NAME_LIMIT), primary_key=True),
    comment="One row a profile, locked while its shares are dealt out",
)

slots = _table(
    "slots",
    Column("profile", String(NAME_LIMIT), primary_key=True),
    Column("holder", String(NAME_LIMIT), primary_key=True),
    Column("share", Integer, nullable=False),
    Column("busy", Integer, nullable=False),
    _moment("until", nullable=False),
)

buckets = _table(
    "buckets",
    Column("profile", String(NAME_LIMIT), primary_key=True),
    Column("channel", String(16), primary_key=True),
    Column("tokens", Double, nullable=False),
    _moment("updated_at", nullable=False),
)

attendants = _table(
    "attendants",
    Column("holder", String(NAME_LIMIT), primary_key=True),
    Column("crew", String(NAME_LIMIT)),  # NULL: every fleet
    Column("place", String(NAME_LIMIT), nullable=False),
    _moment("since", nullable=False),
    _moment("until", nullable=False),
)

wakes = _table(
    "wakes",
    Column("crew", String(NAME_LIMIT), primary_key=True),
    Column("lane", String(16), primary_key=True),
    _moment("until", nullable=False),
)

outbox = _table(
    "outbox",
    Column("id", SERIAL, primary_key=True),
    Column("batch_id", IDENTIFIER, ForeignKey("batches.id"), nullable=False),
    Column("message_id", String(64), nullable=False),
    Column("target", Text, nullable=False),
    Column("payload", LONG_TEXT, nullable=False),
    _counter("attempts"),
    _moment("created_at", nullable=False),
    _moment("next_at"),  # NULL once it is delivered or dead
    _moment("delivered_at"),
    _moment("dead_at"),
    Column("last_error", Text),
    Index("ix_outbox_next_at", "next_at", **_partial("next_at IS NOT NULL")),
    Index("ix_outbox_batch_id", "batch_id"),
)

schedule_leader = _table(
    "schedule_leader",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False),
    _moment("until", nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

schedule_runs = _table(
    "schedule_runs",
    Column("schedule", String(NAME_LIMIT), primary_key=True),
    _moment("due", nullable=False, primary_key=True),
    _moment("fired_at", nullable=False),
)

schedule_files = _table(
    "schedule_files",
    Column("schedule", String(NAME_LIMIT), primary_key=True),
    Column("source_key", String(64), primary_key=True),  # sha256 of the source: paths are long
    Column("source", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
)

ready_times = _table(
    "ready_times",
    Column("profile", String(NAME_LIMIT), primary_key=True),
    Column("category", String(NAME_LIMIT), primary_key=True),
    Column("format", String(FORMAT_LIMIT), primary_key=True),
    Column("size_class", Integer, primary_key=True, autoincrement=False),
    Column("sketch", LONG_TEXT, nullable=False),  # JSON
    _moment("updated_at", nullable=False),
)
