"""What the tables have in common: names of constraints, types of keys, partial indexes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData, String, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Keys sort and compare by byte on both databases, whatever the server's locale is.
BUCKET = String(64).with_variant(String(64, collation="C"), "postgresql")
VALUE = String(1024).with_variant(String(1024, collation="C"), "postgresql")
KEY = String(1100).with_variant(String(1100, collation="C"), "postgresql")


def where(condition: str) -> dict[str, Any]:
    """Return the arguments of a partial index, which holds only rows that meet a condition."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}
