"""The tables. Migrations create them; a test holds the two against each other."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

revisions = Table(
    "revisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("edge_revision", BigInteger, nullable=False),
    Column("oldest_change", BigInteger, nullable=False),
)
"""One row: the current revision, taken under a lock by each write, so that they commit in order."""

cells = Table(
    "cells",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(63), nullable=False, unique=True),
    Column("address", String(260), nullable=False, unique=True),
    Column("session_prefix", String(64), nullable=True, unique=True),
    Column("state", String(16), nullable=False),
    Column("weight", Integer, nullable=False),
    Column("healthy", Boolean, nullable=False),
    Column("details", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
)
"""``details`` is JSON: endpoints, tls, health_check_path, sequence_ranges, labels."""

claims = Table(
    "claims",
    metadata,
    Column("bucket", String(64), primary_key=True),
    Column("value", String(1024), primary_key=True),
    Column("cell_id", Integer, ForeignKey("cells.id"), nullable=False),
    Column("subject", String(160), nullable=True),
    Column("source", String(160), nullable=True),
    Column("revision", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Index("ix_claims_cell_id_bucket_value", "cell_id", "bucket", "value"),
    sqlite_with_rowid=False,
)

rulesets = Table(
    "rulesets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("document", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("author", String(256), nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("revision", BigInteger, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("action", String(16), nullable=False),
    Column("key", String(1100), nullable=False),
    Column("before", Text, nullable=True),
    Column("after", Text, nullable=True),
    Column("actor", String(256), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(256), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("ix_idempotency_at", "at"),
)
