"""Who is at work: one row for each process that attends to files, renewed while it lives."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0001"
branch_labels = None
depends_on = None

MARIADB = ("mysql", "mariadb")
MOMENT = (
    sa.DateTime(timezone=True)
    .with_variant(sa.DateTime(), "sqlite")
    .with_variant(mysql.DATETIME(fsp=6), *MARIADB)
)
OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    op.create_table(
        "attendants",
        sa.Column("holder", sa.String(190), nullable=False),
        sa.Column("crew", sa.String(190), nullable=True),
        sa.Column("place", sa.String(190), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("holder", name=op.f("pk_attendants")),
        **OPTIONS,
    )


def downgrade() -> None:
    op.drop_table("attendants")
