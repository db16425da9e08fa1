"""Files that take over the result of the same bytes, or wait for it.

Older workers go on with this schema: every column is NULL or has a default, and the view of results
gains a last column.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

IDENTIFIER = sa.Uuid().with_variant(sa.CHAR(36), "sqlite", "mysql", "mariadb")
INDEXED = ("reuse_key", "waits_for")

RESULTS = """
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
    batches.profile AS profile{more}
FROM files
JOIN batches ON batches.id = files.batch_id
LEFT JOIN results ON results.file_id = files.id
"""


def upgrade() -> None:
    forced = sa.Column("forced", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("files", forced)
    op.add_column("files", sa.Column("reuse_key", sa.String(64), nullable=True))
    for name in ("reused_from", "waits_for"):
        op.add_column("files", sa.Column(name, IDENTIFIER, nullable=True))
    for name in INDEXED:
        given = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            f"ix_files_{name}", "files", [name], postgresql_where=given, sqlite_where=given
        )
    _view(",\n    files.reused_from AS reused_from")


def downgrade() -> None:
    op.execute("DROP VIEW ingested_files")
    for name in INDEXED:
        op.drop_index(f"ix_files_{name}", table_name="files")
    for name in ("forced", "reuse_key", "reused_from", "waits_for"):
        op.drop_column("files", name)
    _view("")


def _view(more: str) -> None:
    """Write the view anew; where it can be replaced, its readers find it at every moment."""
    dialect = op.get_context().dialect.name
    if dialect == "sqlite":
        op.execute("DROP VIEW IF EXISTS ingested_files")
    replace = "" if dialect == "sqlite" else "OR REPLACE "
    no = "false" if dialect == "postgresql" else "0"
    op.execute(f"CREATE {replace}VIEW ingested_files AS\n{RESULTS.format(no=no, more=more)}")
