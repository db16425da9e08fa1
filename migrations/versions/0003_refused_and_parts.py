"""Why a batch was refused; the parts of a batch, told apart by the hand-in that they belong to.

Older workers go on with this schema: both columns have a default.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0004"
branch_labels = None
depends_on = None

_NEW = "PRIMARY KEY (batch_id, hand_in, part)"
_OLD = "PRIMARY KEY (batch_id, part)"
_FOREIGN = "CONSTRAINT fk_batch_parts_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id)"
_PARTS = "batch_id CHAR(36) NOT NULL, part INTEGER NOT NULL, parts INTEGER NOT NULL"
_HAND_IN = "hand_in VARCHAR(36) DEFAULT '' NOT NULL"
_KEEP = "DELETE FROM batch_parts WHERE hand_in <> ''"


def upgrade() -> None:
    op.add_column("batches", sa.Column("reason", sa.Text(), nullable=True))
    match op.get_context().dialect.name:
        case "sqlite":
            _copied(f"{_PARTS}, {_HAND_IN}", _NEW)
        case "postgresql":
            op.execute(
                f"ALTER TABLE batch_parts ADD COLUMN {_HAND_IN}, "
                f"DROP CONSTRAINT pk_batch_parts, ADD CONSTRAINT pk_batch_parts {_NEW}"
            )
        case _:
            op.execute(
                f"ALTER TABLE batch_parts ADD COLUMN {_HAND_IN}, DROP PRIMARY KEY, ADD {_NEW}"
            )


def downgrade() -> None:
    op.execute(_KEEP)
    match op.get_context().dialect.name:
        case "sqlite":
            _copied(_PARTS, _OLD)
        case "postgresql":
            op.execute(
                "ALTER TABLE batch_parts DROP CONSTRAINT pk_batch_parts, "
                f"ADD CONSTRAINT pk_batch_parts {_OLD}, DROP COLUMN hand_in"
            )
        case _:
            op.execute(f"ALTER TABLE batch_parts DROP PRIMARY KEY, ADD {_OLD}, DROP COLUMN hand_in")
    op.execute("UPDATE batches SET state = 'cancelled' WHERE state = 'rejected'")
    op.drop_column("batches", "reason")


def _copied(columns: str, key: str) -> None:
    """SQLite changes no primary key in place."""
    op.execute("ALTER TABLE batch_parts RENAME TO batch_parts_before")
    op.execute(f"CREATE TABLE batch_parts ({columns}, CONSTRAINT pk_batch_parts {key}, {_FOREIGN})")
    op.execute(
        "INSERT INTO batch_parts (batch_id, part, parts) "
        "SELECT batch_id, part, parts FROM batch_parts_before"
    )
    op.execute("DROP TABLE batch_parts_before")
