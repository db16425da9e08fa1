"""Batches that have not ended are found at once, however many have, whatever their state.

Older workers go on with this schema.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NAME = "ix_batches_finished_at"


def upgrade() -> None:
    op.create_index(NAME, "batches", ["finished_at", "created_at"])


def downgrade() -> None:
    op.drop_index(NAME, table_name="batches")
