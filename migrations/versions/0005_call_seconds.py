"""How long a call took that failed, in a file's story.

Older workers go on with this schema: they leave the column empty.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("file_events", sa.Column("seconds", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("file_events", "seconds")
