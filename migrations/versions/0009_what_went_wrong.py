"""What went wrong lately is found without a look at what went well.

Older workers go on with this schema. On a table of many millions the indexes can be made beforehand
without anybody waiting (PostgreSQL: CREATE INDEX CONCURRENTLY, under the same names); what is there
already is left as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_files_retrying", "files", ["error_code", "crew"],
     "lane IS NOT NULL AND error_code IS NOT NULL"),
    ("ix_uploads_unknown", "uploads", ["created_at"], "state = 'unknown'"),
)  # fmt: skip


def upgrade() -> None:
    for name, table, columns, given in INDEXES:
        condition = sa.text(given)
        op.create_index(
            name,
            table,
            columns,
            postgresql_where=condition,
            sqlite_where=condition,
            if_not_exists=True,
        )


def downgrade() -> None:
    for name, table, *_ in INDEXES:
        op.drop_index(name, table_name=table)
