"""The tables, as queries use them. Migrations create them; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
)

from control_plane.topology.storage.table_parts import BUCKET, KEY, VALUE, metadata, where

__all__ = ["metadata"]

revisions = Table(
    "revisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("edge_revision", BigInteger, nullable=False),
    Column("oldest_change", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("answers_revision", BigInteger, nullable=True),
    Column("answers_as_of", BigInteger, nullable=True),
)
"""One row: the current revision. Each write takes it under a lock, so that they commit in order.

``at`` is when it was taken, by the database's clock. ``edge_revision`` is the revision of the last
change to a cell or the active ruleset. Changes up to ``oldest_change`` are deleted from the change
feed. ``answers_revision`` is the revision of the last change that can change which cell a request
gets. It holds only while ``edge_revision`` is what ``answers_as_of`` says: if another program
raised that (an older cellway, a restore by hand), the change counts as one that can.
"""

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
    Column("share", Integer, nullable=False, server_default="100"),
)
"""``details`` is JSON: endpoints, tls, health_check_path, sequence_ranges, labels.

``share`` is in percent: what a drain leaves a cell of its usual share of the free traffic.
"""

cell_ids = Table(
    "cell_ids",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("cell", String(63), nullable=False),
    Column("given_at", DateTime(timezone=True), nullable=False),
    Column("deleted_at", DateTime(timezone=True), nullable=True),
)
"""Every id that a cell ever had, with the name of that cell. No row is ever deleted.

``deleted_at`` is NULL for a living cell, and for one that a restore has lost.
"""

claims = Table(
    "claims",
    metadata,
    Column("bucket", BUCKET, primary_key=True),
    Column("value", VALUE, primary_key=True),
    Column("cell_id", Integer, ForeignKey("cells.id"), nullable=False),
    Column("subject", String(160), nullable=True),
    Column("source", String(160), nullable=True),
    Column("revision", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("uuid", String(36), nullable=False),
    Column("status", String(10), nullable=False),
    Column("lease", String(36), nullable=True),
    Column("subject_type", Integer, nullable=False),
    Column("subject_id", BigInteger, nullable=False),
    Column("source_type", Integer, nullable=False),
    Column("source_id", LargeBinary, nullable=True),
    Column("user_data", LargeBinary, nullable=True),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("spelling", String(1024), nullable=True),
    Column("hold", Integer, nullable=True),
    Index("ix_claims_cell_id_bucket_value", "cell_id", "bucket", "value"),
    Index("ix_claims_hold", "hold", **where("hold IS NOT NULL")),
    Index("ix_claims_lease", "lease", **where("lease IS NOT NULL")),
    Index("ix_claims_source", "cell_id", "source_type", "source_id", **where("source_type > 0")),
    Index("ix_claims_subject", "subject_id", "subject_type", **where("subject_id > 0")),
    sqlite_with_rowid=False,
)
"""One row for each claimed value. ``lease`` is the lease that creates or destroys it, if one does.

``value`` is normalised. ``spelling`` is the value as it was sent, which cells compare exactly. It
is NULL where the two are the same. An absent ``source_id`` or ``user_data`` is NULL or empty.
``hold`` is minus the number of the move that holds the claim, with which look-ups answer in place
of ``cell_id`` (see `values.hold`); NULL if none does. The partial indexes hold only rows that their
queries ask for, so that plain claims cost no more than the primary key and the cell's index.
"""

epochs = Table(
    "epochs",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Index("ix_epochs_revision", "revision"),
)
"""For each shard of the claims' keyspace, the revision at which a claim last changed its owner."""

tombstones = Table(
    "tombstones",
    metadata,
    Column("bucket", BUCKET, primary_key=True),
    Column("value", VALUE, primary_key=True),
    Column("cell_id", Integer, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("freed_at", DateTime(timezone=True), nullable=False),
    Index("ix_tombstones_freed_at", "freed_at"),
)
"""The last owners of freed names, kept for two days (see `claims.epochs`)."""

leases = Table(
    "leases",
    metadata,
    Column("uuid", String(36), primary_key=True),
    Column("cell_id", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("idempotency_key", String(256), nullable=True),
    Column("fingerprint", String(64), nullable=True),
    Column("destroys", SmallInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("settled_at", DateTime(timezone=True), nullable=True),
    Index("ix_leases_open", "cell_id", "uuid", **where("settled_at IS NULL")),
    Index("ix_leases_settled", "settled_at", **where("settled_at IS NOT NULL")),
    Index(
        "ix_leases_key",
        "cell_id",
        "idempotency_key",
        unique=True,
        **where("idempotency_key IS NOT NULL"),
    ),
)
"""Open leases, and settled ones for a day, so that the lease of a late repetition is there.

``revision`` is that of the lease's last step: begin, commit or rollback.
"""

replacements = Table(
    "replacements",
    metadata,
    Column("lease", String(36), primary_key=True),
    Column("bucket", BUCKET, primary_key=True),
    Column("value", VALUE, primary_key=True),
    Column("uuid", String(36), nullable=False),
    Column("subject_type", Integer, nullable=False),
    Column("subject_id", BigInteger, nullable=False),
    Column("source_type", Integer, nullable=False),
    Column("source_id", LargeBinary, nullable=True),
    Column("user_data", LargeBinary, nullable=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("spelling", String(1024), nullable=True),
)
"""The new attributes of claims that one lease both destroys and creates, until it is committed."""

sequence_ranges = Table(
    "sequence_ranges",
    metadata,
    Column("minval", BigInteger, primary_key=True, autoincrement=False),
    Column("maxval", BigInteger, nullable=False),
    Column("cell_id", Integer, nullable=True),
    Column("cell", String(63), nullable=False),
    Column("last_used", BigInteger, nullable=True),
    Column("revision", BigInteger, nullable=False),
    Column("allotted_at", DateTime(timezone=True), nullable=False),
)
"""Every range of ids that was ever allotted. No row is ever deleted.

``cell_id`` is NULL once the cell is deleted. ``last_used`` is the highest id of the range that its
cell has reported as handed out.
"""

sequence_marks = Table(
    "sequence_marks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("mark", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False),
)
"""One row. ``mark`` is the highest id ever allotted. No new range starts at or below ``floor``."""

moves = Table(
    "moves",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("target_id", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("deadline_at", DateTime(timezone=True), nullable=True),
    Column("document", Text, nullable=False),
    Index("ix_moves_state", "state"),
)
"""Moves of tenants. No row is ever deleted, so that no number is given twice.

``version`` is the revision of the move's last change. ``document`` is JSON: the plan, the evidence,
the timeline and the reports (see `claims.moves.rows`).
"""

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
    Column("key", KEY, nullable=False),
    Column("before", Text, nullable=True),
    Column("after", Text, nullable=True),
    Column("actor", String(256), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("ix_changes_key", "key", "revision"),
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
    Column("since", BigInteger, nullable=True),
    Column("caller", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    Index("ix_idempotency_at", "at"),
    Index("ix_idempotency_caller", "caller", "at", "size"),
)
"""Requests that were carried out under an idempotency key, and their answers.

``status`` is the HTTP status of the answer, or below 100 where there is none (see `idempotency`).
``since`` is the revision before the request's first write. ``caller`` is whose key it is, and
``size`` how many bytes the row counts for among the caller's.
"""

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=True),
    Column("revoked_at", DateTime(timezone=True), nullable=True),
)
"""API tokens. ``hash`` is the SHA-256 of the secret part, 256 random bits, in hex."""

edge_secrets = Table(
    "edge_secrets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("root", String(64), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("rotated_at", DateTime(timezone=True), nullable=False),
    Column("demanded_at", DateTime(timezone=True), nullable=False),
)
"""One row: what the secrets of edges are derived from (see `edge_secrets`).

``root`` is 256 random bits in hex. Until ``demanded_at``, classifiers answer without a secret too.
"""

move_claims = Table(
    "move_claims",
    metadata,
    Column("bucket", BUCKET, primary_key=True),
    Column("value", VALUE, primary_key=True),
    Column("move_id", Integer, nullable=False),
    Index("ix_move_claims_move_id", "move_id"),
    sqlite_with_rowid=False,
)
"""The claims of each move that has not ended: a claim is in one such move at most."""

owners_table = Table(
    "owners_table",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(32), nullable=False),
    Column("lineage", BigInteger, nullable=False),
)
"""One row: the key of the owners' fingerprints in hex, and the number of the table of owners.

A restore replaces the number (see `topology.lookup.all_owners`).
"""

operations = Table(
    "operations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("target", String(256), nullable=False),
    Column("state", String(16), nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=True),
    Column("detail", Text, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Index("ix_operations_started_at", "started_at"),
)
"""Work that goes on after its request was answered; here, so that each replica can report on it."""

edge_health = Table(
    "edge_health",
    metadata,
    Column("replica", String(36), primary_key=True),
    Column("said", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)
"""The reports of edges about cells, added up: one row for each control plane.

It is rewritten every few seconds, and no longer counts when ``at`` is old. ``said`` is JSON:
``cells`` has by name how many edges can reach a cell and how many can't; ``silent`` is how many
other edges there are that don't report.
"""

drains = Table(
    "drains",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("cell_id", Integer, nullable=False),
    Column("cell", String(63), nullable=False),
    Column("state", String(16), nullable=False),
    Column("share", Integer, nullable=False),
    Column("target", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("interval_s", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("detail", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("next_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True), nullable=True),
    Column("version", BigInteger, nullable=False),
    Index("uq_drains_cell_id", "cell_id", unique=True, **where("ended_at IS NULL")),
    Index("ix_drains_started_at", "started_at"),
)
"""Drains of cells, also those that have ended; a cell has at most one that has not.

``share``, ``target`` and ``step`` are in percent. ``next_at`` is when the next step is due,
``version`` the revision of the last change of the row.
"""

fleet_reports = Table(
    "fleet_reports",
    metadata,
    Column("server", String(36), primary_key=True),
    Column("said", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
)
"""What the Envoys of each control plane run: one row for each that serves Envoys.

It is rewritten when that changes, and every few seconds; it no longer counts when ``at`` is old.
``said`` is JSON, see `topology.cells.fleet_reports`.
"""
