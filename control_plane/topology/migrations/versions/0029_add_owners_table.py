"""The key of the owners' fingerprints, and which table of owners this database has."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    table = op.create_table(
        "owners_table",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("lineage", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_owners_table"),
    )
    row = {"id": 1, "key": secrets.token_hex(16), "lineage": 1 + secrets.randbelow(2**63 - 1)}
    op.bulk_insert(table, [row])


def downgrade() -> None:
    op.drop_table("owners_table")
