"""Cells, claims, rulesets and the change feed."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    revisions = op.create_table(
        "revisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("edge_revision", sa.BigInteger(), nullable=False),
        sa.Column("oldest_change", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revisions"),
    )
    op.bulk_insert(revisions, [{"id": 1, "revision": 0, "edge_revision": 0, "oldest_change": 0}])
    op.create_table(
        "cells",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("address", sa.String(260), nullable=False),
        sa.Column("session_prefix", sa.String(64), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("healthy", sa.Boolean(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cells"),
        sa.UniqueConstraint("name", name="uq_cells_name"),
        sa.UniqueConstraint("address", name="uq_cells_address"),
        sa.UniqueConstraint("session_prefix", name="uq_cells_session_prefix"),
    )
    op.create_table(
        "claims",
        sa.Column("bucket", sa.String(64), nullable=False),
        sa.Column("value", sa.String(1024), nullable=False),
        sa.Column("cell_id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(160), nullable=True),
        sa.Column("source", sa.String(160), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "value", name="pk_claims"),
        sa.ForeignKeyConstraint(["cell_id"], ["cells.id"], name="fk_claims_cell_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_claims_cell_id_bucket_value", "claims", ["cell_id", "bucket", "value"])
    op.create_table(
        "rulesets",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("author", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_rulesets"),
    )
    op.create_table(
        "changes",
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("key", sa.String(1100), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("actor", sa.String(256), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("revision", "ordinal", name="pk_changes"),
    )
    op.create_table(
        "idempotency",
        sa.Column("key", sa.String(256), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_at", "idempotency", ["at"])


def downgrade() -> None:
    for table in ("idempotency", "changes", "rulesets", "claims", "cells", "revisions"):
        op.drop_table(table)
