"""The claims protocol: records under leases; keys in byte order on PostgreSQL."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_EPOCH = "1970-01-01 00:00:00"
_UUID = {
    "sqlite": "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' ||"
    " substr(hex(randomblob(2)), 2) || '-a' || substr(hex(randomblob(2)), 2) || '-' ||"
    " hex(randomblob(6)))",
    "postgresql": "CAST(gen_random_uuid() AS text)",
}
_BYTE_ORDER = (("claims", "bucket", 64), ("claims", "value", 1024), ("changes", "key", 1100))


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    if dialect == "postgresql":
        for table, column, size in _BYTE_ORDER:
            op.alter_column(table, column, type_=sa.String(size, collation="C"))
    op.add_column("revisions", _stamp("at"))
    _extend_claims(dialect)
    _create_leases(dialect)
    op.create_index("ix_changes_key", "changes", ["key", "revision"])


def _stamp(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=_EPOCH)


def _number(name: str, kind: sa.types.TypeEngine[int]) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, server_default="0")


def _extend_claims(dialect: str) -> None:
    op.add_column("claims", sa.Column("uuid", sa.String(36), nullable=False, server_default=""))
    op.add_column(
        "claims", sa.Column("status", sa.String(10), nullable=False, server_default="active")
    )
    op.add_column("claims", sa.Column("lease", sa.String(36), nullable=True))
    op.add_column("claims", _number("subject_type", sa.Integer()))
    op.add_column("claims", _number("subject_id", sa.BigInteger()))
    op.add_column("claims", _number("source_type", sa.Integer()))
    op.add_column("claims", sa.Column("source_id", sa.LargeBinary(), nullable=True))
    op.add_column("claims", sa.Column("user_data", sa.LargeBinary(), nullable=True))
    op.add_column("claims", _stamp("updated_at"))
    op.execute(f"UPDATE claims SET uuid = {_UUID[dialect]}, updated_at = created_at")  # noqa: S608
    _partial_index("ix_claims_lease", "claims", ["lease"], "lease IS NOT NULL")
    source = ["cell_id", "source_type", "source_id"]
    _partial_index("ix_claims_source", "claims", source, "source_type > 0")
    subject = ["subject_id", "subject_type"]
    _partial_index("ix_claims_subject", "claims", subject, "subject_id > 0")


def _create_leases(dialect: str) -> None:
    collation = "C" if dialect == "postgresql" else None
    op.create_table(
        "leases",
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("cell_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("idempotency_key", sa.String(256), nullable=True),
        sa.Column("fingerprint", sa.String(64), nullable=True),
        sa.Column("destroys", sa.SmallInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("uuid", name="pk_leases"),
    )
    _partial_index("ix_leases_open", "leases", ["cell_id", "uuid"], "settled_at IS NULL")
    _partial_index("ix_leases_settled", "leases", ["settled_at"], "settled_at IS NOT NULL")
    key = ["cell_id", "idempotency_key"]
    _partial_index("ix_leases_key", "leases", key, "idempotency_key IS NOT NULL", unique=True)
    op.create_table(
        "replacements",
        sa.Column("lease", sa.String(36), nullable=False),
        sa.Column("bucket", sa.String(64, collation=collation), nullable=False),
        sa.Column("value", sa.String(1024, collation=collation), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("subject_type", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("source_type", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.LargeBinary(), nullable=True),
        sa.Column("user_data", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("lease", "bucket", "value", name="pk_replacements"),
    )


def _partial_index(
    name: str, table: str, columns: list[str], where: str, *, unique: bool = False
) -> None:
    condition = sa.text(where)
    op.create_index(
        name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition
    )


def downgrade() -> None:
    op.drop_index("ix_changes_key", "changes")
    op.drop_table("replacements")
    op.drop_table("leases")
    for name in ("lease", "source", "subject"):
        op.drop_index(f"ix_claims_{name}", "claims")
    added = "uuid status lease subject_type subject_id source_type source_id user_data updated_at"
    for column in added.split():
        op.drop_column("claims", column)
    op.drop_column("revisions", "at")
