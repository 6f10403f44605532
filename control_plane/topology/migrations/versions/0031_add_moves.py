"""Moves of tenants, their claims, and which move holds a claim."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_BUCKET = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
_VALUE = sa.String(1024).with_variant(sa.String(1024, collation="C"), "postgresql")


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "moves",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.Column("deadline_at", moment, nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_moves"),
    )
    op.create_index("ix_moves_state", "moves", ["state"])
    op.create_table(
        "move_claims",
        sa.Column("bucket", _BUCKET, nullable=False),
        sa.Column("value", _VALUE, nullable=False),
        sa.Column("move_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "value", name="pk_move_claims"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_move_claims_move_id", "move_claims", ["move_id"])
    op.add_column("claims", sa.Column("hold", sa.Integer(), nullable=True))
    held = sa.text("hold IS NOT NULL")
    op.create_index("ix_claims_hold", "claims", ["hold"], sqlite_where=held, postgresql_where=held)


def downgrade() -> None:
    op.drop_index("ix_claims_hold", "claims")
    op.drop_column("claims", "hold")
    op.drop_index("ix_move_claims_move_id", "move_claims")
    op.drop_table("move_claims")
    op.drop_index("ix_moves_state", "moves")
    op.drop_table("moves")
