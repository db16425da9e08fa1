"""How the files of each category have failed lately, and whether that holds the others.

Older workers go on with this schema: they hold nobody.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MARIADB = ("mysql", "mariadb")
IDENTIFIER = sa.Uuid().with_variant(sa.CHAR(36), "sqlite", *MARIADB)
MOMENT = (
    sa.DateTime(timezone=True)
    .with_variant(sa.DateTime(), "sqlite")
    .with_variant(mysql.DATETIME(fsp=6), *MARIADB)
)
OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    op.create_table(
        "breakers",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("profile", sa.String(190), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=True),
        sa.Column("canary", IDENTIFIER, nullable=True),
        sa.Column("canary_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_breakers")),
        **OPTIONS,
    )


def downgrade() -> None:
    op.drop_table("breakers")
