"""Every sequence range that was ever allotted, and the high-water mark."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ranges = op.create_table(
        "sequence_ranges",
        sa.Column("minval", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("maxval", sa.BigInteger(), nullable=False),
        sa.Column("cell_id", sa.Integer(), nullable=True),
        sa.Column("cell", sa.String(63), nullable=False),
        sa.Column("last_used", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("allotted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("minval", name="pk_sequence_ranges"),
    )
    marks = op.create_table(
        "sequence_marks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sequence_marks"),
    )
    cells = sa.table(
        "cells", sa.column("id"), sa.column("name"), sa.column("details"), sa.column("version")
    )
    now = op.get_bind().execute(sa.select(sa.func.current_timestamp(type_=sa.DateTime))).scalar()
    allotted = [
        {
            "minval": low,
            "maxval": high,
            "cell_id": cell.id,
            "cell": cell.name,
            "revision": cell.version,
            "allotted_at": now,
        }
        for cell in op.get_bind().execute(sa.select(cells)).all()
        for low, high in json.loads(cell.details)["sequence_ranges"]
    ]
    if allotted:
        op.bulk_insert(ranges, allotted)
    highest = max((one["maxval"] for one in allotted), default=0)
    op.bulk_insert(marks, [{"id": 1, "mark": highest, "floor": 0}])


def downgrade() -> None:
    op.drop_table("sequence_marks")
    op.drop_table("sequence_ranges")
