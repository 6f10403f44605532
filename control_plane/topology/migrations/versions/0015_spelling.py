"""The value of a claim as its cell sent it, where that is not the normalised one."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Neither engine rewrites the table for a column that may be NULL and has no default.
    for table in ("claims", "replacements"):
        op.add_column(table, sa.Column("spelling", sa.String(1024), nullable=True))


def downgrade() -> None:
    for table in ("claims", "replacements"):
        op.drop_column(table, "spelling")
