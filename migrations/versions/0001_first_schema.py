"""The first schema: batches, files, results, the ledger of uploads, and the fleet's memory.

What a column means stands in worker/adapters/database/tables.py. The types are written out here,
since a revision must stay as it is when the code moves on.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MARIADB = ("mysql", "mariadb")
IDENTIFIER = sa.Uuid().with_variant(sa.CHAR(36), "sqlite", *MARIADB)
MOMENT = (
    sa.DateTime(timezone=True)
    .with_variant(sa.DateTime(), "sqlite")
    .with_variant(mysql.DATETIME(fsp=6), *MARIADB)
)
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), *MARIADB)
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def only(condition: str) -> dict[str, sa.TextClause]:
    """A partial index, where there is such a thing."""
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


# One line of `results` for every file, for readers with SQL.
INGESTED_FILES = """
CREATE VIEW ingested_files AS
SELECT
    files.batch_id AS batch_id,
    files.id AS file_id,
    files.source AS source,
    files.name AS name,
    files.size AS size,
    files.sha256 AS sha256,
    files.category AS category,
    files.chatflow_file_id AS chatflow_file_id,
    files.service_status AS status,
    files.state AS state,
    files.error_code AS error_code,
    files.error_message AS error_message,
    results.parse_content AS parse_content,
    results.parse_segments AS parse_segments,
    results.llm_content AS llm_content,
    files.upload_attempts AS upload_attempts,
    files.polls AS polls,
    files.submitted_at AS submitted_at,
    files.finished_at AS finished_at,
    COALESCE(results.sanitized, {no}) AS sanitized,
    batches.external_key AS external_key,
    batches.profile AS profile
FROM files
JOIN batches ON batches.id = files.batch_id
LEFT JOIN results ON results.file_id = files.id
"""


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("external_key", sa.Text(), nullable=True),
        sa.Column("profile", sa.String(length=190), nullable=False),
        sa.Column("crew", sa.String(length=190), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("inputs", LONG_TEXT, nullable=True),
        sa.Column("notify", sa.Text(), nullable=True),
        sa.Column("after_rule", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("next_turn", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("sealed_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        **OPTIONS,
    )
    op.create_index("ix_batches_created_at", "batches", ["created_at"])
    op.create_index("ix_batches_state", "batches", ["state", "created_at"])
    op.create_table(
        "buckets",
        sa.Column("profile", sa.String(length=190), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("profile", "channel", name=op.f("pk_buckets")),
        **OPTIONS,
    )
    op.create_table(
        "budgets",
        sa.Column("profile", sa.String(length=190), nullable=False),
        sa.PrimaryKeyConstraint("profile", name=op.f("pk_budgets")),
        comment="One row a profile, locked while its shares are dealt out",
        **OPTIONS,
    )
    op.create_table(
        "dialogs",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("profile", sa.String(length=190), nullable=False),
        sa.Column("chatflow_dialog_id", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("flow_uuid", sa.Text(), nullable=True),
        sa.Column("node_id", sa.Text(), nullable=True),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dialogs")),
        **OPTIONS,
    )
    op.create_table(
        "pauses",
        sa.Column("profile", sa.String(length=190), nullable=False),
        sa.Column("paused_at", MOMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("probe_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("profile", name=op.f("pk_pauses")),
        **OPTIONS,
    )
    op.create_table(
        "ready_times",
        sa.Column("profile", sa.String(length=190), nullable=False),
        sa.Column("category", sa.String(length=190), nullable=False),
        sa.Column("format", sa.String(length=32), nullable=False),
        sa.Column("size_class", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sketch", LONG_TEXT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint(
            "profile", "category", "format", "size_class", name=op.f("pk_ready_times")
        ),
        **OPTIONS,
    )
    op.create_table(
        "schedule_files",
        sa.Column("schedule", sa.String(length=190), nullable=False),
        sa.Column("source_key", sa.String(length=64), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("schedule", "source_key", name=op.f("pk_schedule_files")),
        **OPTIONS,
    )
    op.create_table(
        "schedule_leader",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_schedule_leader_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_leader")),
        **OPTIONS,
    )
    op.create_table(
        "schedule_runs",
        sa.Column("schedule", sa.String(length=190), nullable=False),
        sa.Column("due", MOMENT, nullable=False),
        sa.Column("fired_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("schedule", "due", name=op.f("pk_schedule_runs")),
        **OPTIONS,
    )
    op.create_table(
        "service_state",
        sa.Column("profile", sa.String(length=190), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("frozen_until", MOMENT, nullable=True),
        sa.Column("strikes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_frozen_at", MOMENT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("probe_until", MOMENT, nullable=True),
        sa.Column("probe_token", IDENTIFIER, nullable=True),
        sa.PrimaryKeyConstraint("profile", "channel", name=op.f("pk_service_state")),
        **OPTIONS,
    )
    op.create_table(
        "slots",
        sa.Column("profile", sa.String(length=190), nullable=False),
        sa.Column("holder", sa.String(length=190), nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("busy", sa.Integer(), nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("profile", "holder", name=op.f("pk_slots")),
        **OPTIONS,
    )
    op.create_table(
        "wakes",
        sa.Column("crew", sa.String(length=190), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("crew", "lane", name=op.f("pk_wakes")),
        **OPTIONS,
    )
    op.create_table(
        "batch_parts",
        sa.Column("batch_id", IDENTIFIER, nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_batch_parts_batch_id")),
        sa.PrimaryKeyConstraint("batch_id", "part", name=op.f("pk_batch_parts")),
        **OPTIONS,
    )
    op.create_table(
        "files",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("batch_id", IDENTIFIER, nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("crew", sa.String(length=190), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=True),
        sa.Column("next_at", MOMENT, nullable=True),
        sa.Column("lease_token", IDENTIFIER, nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("recorded_token", IDENTIFIER, nullable=True),
        sa.Column("deaths", sa.Integer(), server_default="0", nullable=False),
        sa.Column("upload_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts_used", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("chatflow_file_id", sa.Text(), nullable=True),
        sa.Column("service_status", sa.BigInteger(), nullable=True),
        sa.Column("parsed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("submitted_at", MOMENT, nullable=True),
        sa.Column("asked_at", MOMENT, nullable=True),
        sa.Column("deadline_at", MOMENT, nullable=True),
        sa.Column("deadline_seconds", sa.Double(), nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("after_rule", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_files_batch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
        **OPTIONS,
        postgresql_with={"autovacuum_vacuum_scale_factor": "0.02"},
    )
    op.create_index(
        "ix_files_due", "files", ["lane", "crew", "next_at"], **only("lane IS NOT NULL")
    )
    op.create_index(
        "ix_files_lease_token", "files", ["lease_token"], **only("lease_token IS NOT NULL")
    )
    op.create_index(
        "ix_files_leftover",
        "files",
        ["after_rule", "state"],
        mysql_length={"after_rule": 16},
        **only("after_rule IS NOT NULL"),
    )
    op.create_index("ix_files_ready", "files", ["lane", "crew", "turn"], **only("lane = 'submit'"))
    op.create_index("ix_files_state", "files", ["batch_id", "state", "submitted_at"])
    op.create_index("ix_files_turn", "files", ["batch_id", "turn"], unique=True)
    op.create_table(
        "outbox",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("batch_id", IDENTIFIER, nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("payload", LONG_TEXT, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("next_at", MOMENT, nullable=True),
        sa.Column("delivered_at", MOMENT, nullable=True),
        sa.Column("dead_at", MOMENT, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_outbox_batch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        **OPTIONS,
    )
    op.create_index("ix_outbox_batch_id", "outbox", ["batch_id"])
    op.create_index("ix_outbox_next_at", "outbox", ["next_at"], **only("next_at IS NOT NULL"))
    op.create_table(
        "file_events",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("file_id", IDENTIFIER, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_file_events_file_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_events")),
        **OPTIONS,
    )
    op.create_index("ix_file_events_file_id", "file_events", ["file_id"])
    op.create_table(
        "results",
        sa.Column("file_id", IDENTIFIER, nullable=False),
        sa.Column("parse_content", LONG_TEXT, nullable=True),
        sa.Column("parse_segments", LONG_TEXT, nullable=True),
        sa.Column("llm_content", LONG_TEXT, nullable=True),
        sa.Column("sanitized", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("content_size", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_results_file_id")),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_results")),
        **OPTIONS,
    )
    op.create_table(
        "uploads",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("file_id", IDENTIFIER, nullable=False),
        sa.Column("dialog_id", IDENTIFIER, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("lease_token", IDENTIFIER, nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("chatflow_file_id", sa.Text(), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["dialog_id"], ["dialogs.id"], name=op.f("fk_uploads_dialog_id")),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_uploads_file_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("file_id", "attempt", name=op.f("uq_uploads_file_id")),
        **OPTIONS,
    )
    op.create_index("ix_uploads_dialog_id", "uploads", ["dialog_id"])
    no = "false" if op.get_context().dialect.name == "postgresql" else "0"
    op.execute(INGESTED_FILES.format(no=no))


def downgrade() -> None:
    op.execute("DROP VIEW ingested_files")
    op.drop_table("uploads")
    op.drop_table("results")
    op.drop_table("file_events")
    op.drop_table("outbox")
    op.drop_table("files")
    op.drop_table("batch_parts")
    op.drop_table("wakes")
    op.drop_table("slots")
    op.drop_table("service_state")
    op.drop_table("schedule_runs")
    op.drop_table("schedule_leader")
    op.drop_table("schedule_files")
    op.drop_table("ready_times")
    op.drop_table("pauses")
    op.drop_table("dialogs")
    op.drop_table("budgets")
    op.drop_table("buckets")
    op.drop_table("batches")
