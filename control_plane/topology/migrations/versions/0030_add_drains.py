"""Drains, and what each leaves a cell of its share of the free traffic."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    share = sa.Column("share", sa.Integer(), nullable=False, server_default="100")
    op.add_column("cells", share)
    op.create_table(
        "drains",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("cell_id", sa.Integer(), nullable=False),
        sa.Column("cell", sa.String(63), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(256), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_drains"),
    )
    op.create_index("ix_drains_started_at", "drains", ["started_at"])
    running = sa.text("ended_at IS NULL")
    op.create_index(
        "uq_drains_cell_id",
        "drains",
        ["cell_id"],
        unique=True,
        sqlite_where=running,
        postgresql_where=running,
    )


def downgrade() -> None:
    op.drop_table("drains")
    op.drop_column("cells", "share")
