"""The key of a request is stored with its first write, before its answer is known."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("idempotency", sa.Column("since", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM idempotency WHERE status < 100")
    op.drop_column("idempotency", "since")
