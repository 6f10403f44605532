"""Every id that a cell ever had: none is given again."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ids = op.create_table(
        "cell_ids",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cell", sa.String(63), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_cell_ids"),
    )
    bind = op.get_bind()
    now = bind.execute(sa.select(sa.func.current_timestamp(type_=sa.DateTime))).scalar()
    cells = sa.table("cells", sa.column("id"), sa.column("name"))
    rows = {
        cell.id: {"id": cell.id, "cell": cell.name, "given_at": now, "deleted_at": None}
        for cell in bind.execute(sa.select(cells)).all()
    }
    changes = sa.table(
        "changes", *map(sa.column, ("kind", "action", "before", "revision", "ordinal"))
    )
    deleted = sa.select(changes.c.before).where(
        changes.c.kind == "cell", changes.c.action == "delete"
    )
    # The newest come first: if an id was given twice, its row names the last cell.
    for (before,) in bind.execute(deleted.order_by(changes.c.revision.desc())).all():
        cell = json.loads(before)
        tombstone = {"id": cell["id"], "cell": cell["name"], "given_at": now, "deleted_at": now}
        rows.setdefault(cell["id"], tombstone)
    if rows:
        op.bulk_insert(ids, list(rows.values()))


def downgrade() -> None:
    op.drop_table("cell_ids")
