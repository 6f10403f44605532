"""Epochs of the claims' keyspace, and the last owners of freed names."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0003"
branch_labels = None
depends_on = None


def _key(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "epochs",
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shard", name="pk_epochs"),
    )
    op.create_index("ix_epochs_revision", "epochs", ["revision"])
    op.create_table(
        "tombstones",
        sa.Column("bucket", _key(64), nullable=False),
        sa.Column("value", _key(1024), nullable=False),
        sa.Column("cell_id", sa.Integer(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("freed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "value", name="pk_tombstones"),
    )
    op.create_index("ix_tombstones_freed_at", "tombstones", ["freed_at"])


def downgrade() -> None:
    op.drop_table("tombstones")
    op.drop_table("epochs")
