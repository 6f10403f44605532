"""The secret by which edges prove to the classifier that they are edges.

Edges of an installation that is upgraded get it only when they hear from the new program. So its
classifiers answer without it for `GRACE` more. A new installation has no edges yet and no grace.
"""

import secrets
from datetime import timedelta

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

GRACE = timedelta(minutes=15)


def upgrade() -> None:
    table = op.create_table(
        "edge_secrets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("demanded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_edge_secrets"),
    )
    connection = op.get_bind()
    now = sa.select(sa.func.current_timestamp(type_=sa.DateTime(timezone=True)))
    at = connection.execute(now).scalar_one()
    has_edges = connection.execute(sa.text("SELECT 1 FROM cells LIMIT 1")).first() is not None
    op.bulk_insert(
        table,
        [
            {
                "id": 1,
                "root": secrets.token_hex(32),
                "generation": 1,
                "rotated_at": at,
                "demanded_at": at + GRACE if has_edges else at,
            }
        ],
    )


def downgrade() -> None:
    op.drop_table("edge_secrets")
