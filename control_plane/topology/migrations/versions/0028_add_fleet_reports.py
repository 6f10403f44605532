"""What the Envoys of each control plane run, one row for each control plane."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fleet_reports",
        sa.Column("server", sa.String(36), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("server", name="pk_fleet_reports"),
    )


def downgrade() -> None:
    op.drop_table("fleet_reports")
