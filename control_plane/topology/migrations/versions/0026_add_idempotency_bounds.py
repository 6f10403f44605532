"""Idempotency keys are bounded per caller. Keys from before count as those of admins by token."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "idempotency", sa.Column("caller", sa.String(64), nullable=False, server_default="")
    )
    op.add_column(
        "idempotency", sa.Column("size", sa.Integer(), nullable=False, server_default="512")
    )
    op.create_index("ix_idempotency_caller", "idempotency", ["caller", "at", "size"])


def downgrade() -> None:
    op.drop_index("ix_idempotency_caller", "idempotency")
    op.drop_column("idempotency", "size")
    op.drop_column("idempotency", "caller")
