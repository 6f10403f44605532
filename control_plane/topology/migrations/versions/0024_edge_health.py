"""The reports of edges about cells, one row for each control plane."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "edge_health",
        sa.Column("replica", sa.String(36), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("replica", name="pk_edge_health"),
    )


def downgrade() -> None:
    op.drop_table("edge_health")
