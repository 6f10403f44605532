"""The SQL of the claims protocol, in the order in which an update needs it.

Each function returns statements. Their texts are fixed but for the number of rows. A statement
finds the revision and the time of its transaction in the table ``revisions``, and the lease's cell
in ``leases``: so a whole begin can be sent in one round trip, before any result is known.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from typing import Any

from control_plane.topology.claims.update import Creation
from control_plane.topology.storage import Statement, chunked, for_rows, in_keys

_Key = tuple[str, str]
_NOW = "(SELECT at FROM revisions)"
_OPEN = """
INSERT INTO leases (uuid, state, idempotency_key, fingerprint, destroys,
    cell_id, revision, created_at, updated_at)
SELECT CAST(? AS varchar(36)), 'open', CAST(? AS varchar(256)), CAST(? AS varchar(64)),
    CAST(? AS smallint), c.id, r.revision, r.at, r.at
FROM cells c CROSS JOIN revisions r
WHERE c.id = ? AND c.state NOT IN ('drained', 'retired')
ON CONFLICT DO NOTHING"""
_SPEC = "bucket, value, uuid, subject_type, subject_id, source_type, source_id, user_data, spelling"
_SETTLE = f"""
UPDATE leases SET state = ?, revision = (SELECT revision FROM revisions),
    updated_at = {_NOW}, settled_at = {_NOW}
WHERE uuid = ? AND cell_id = ? AND settled_at IS NULL
RETURNING destroys"""  # noqa: S608 - no text from outside
_ACTIVATE = f"""
UPDATE claims SET status = 'active', lease = NULL, updated_at = {_NOW}
WHERE lease = ? AND status = ?"""  # noqa: S608 - no text from outside
_APPLY_REPLACEMENTS = f"""
UPDATE claims SET status = 'active', lease = NULL, updated_at = {_NOW},
    revision = (SELECT revision FROM revisions), subject = NULL, source = NULL,
    (uuid, subject_type, subject_id, source_type, source_id, user_data, spelling, created_at) =
    (SELECT r.uuid, r.subject_type, r.subject_id, r.source_type, r.source_id, r.user_data,
        r.spelling, r.created_at
     FROM replacements r
     WHERE r.lease = claims.lease AND r.bucket = claims.bucket AND r.value = claims.value)
WHERE lease = ? AND status = 'destroying' AND EXISTS (
    SELECT 1 FROM replacements r
    WHERE r.lease = claims.lease AND r.bucket = claims.bucket AND r.value = claims.value)
RETURNING bucket, value, cell_id, uuid"""  # noqa: S608 - no text from outside
_REMOVE = """
DELETE FROM claims WHERE lease = ? AND status = ?
RETURNING bucket, value, cell_id, uuid, spelling"""
_FORGET_REPLACEMENTS = "DELETE FROM replacements WHERE lease = ?"


def _create(rows: str) -> str:
    return f"""
INSERT INTO claims ({_SPEC}, lease, cell_id, status, revision, created_at, updated_at)
SELECT v.*, l.uuid, l.cell_id, 'creating', l.revision, l.created_at, l.created_at
FROM (VALUES {rows}) AS v CROSS JOIN leases l
WHERE l.uuid = ?
ON CONFLICT DO NOTHING"""  # noqa: S608 - no text from outside


def _replace(rows: str) -> str:
    return f"""
INSERT INTO replacements ({_SPEC}, lease, created_at)
SELECT v.*, l.uuid, l.created_at
FROM (VALUES {rows}) AS v CROSS JOIN leases l
WHERE l.uuid = ?"""  # noqa: S608 - no text from outside


def open_lease(
    lease: str, cell_id: int, destroys: int, key: str | None, fingerprint: str | None
) -> Statement:
    """Open a lease; no row changes if the cell can't have one or the key was used before."""
    return Statement(_OPEN, (lease, key, fingerprint, destroys, cell_id))


def create_claims(lease: str, creates: Sequence[Creation]) -> list[Statement]:
    """Create claims under a lease; those whose key is taken are left out."""
    return for_rows(_create, _rows(creates), lease)


def lock_claims(lease: str, cell_id: int, destroys: Sequence[_Key]) -> list[Statement]:
    """Put the cell's claims that are to be destroyed under a lease, unless another holds them."""
    statements: list[Statement] = []
    for chunk in chunked(destroys):
        keys = in_keys(chunk)
        text = f"""
UPDATE claims SET status = 'destroying', lease = ?, updated_at = {_NOW}
WHERE {keys.sql} AND cell_id = ? AND lease IS NULL"""  # noqa: S608 - no text from outside
        statements.append(Statement(text, (lease, *keys.params, cell_id)))
    return statements


def store_replacements(lease: str, replaced: Sequence[Creation]) -> list[Statement]:
    """Store the new attributes of replaced claims until the commit."""
    return for_rows(_replace, _rows(replaced), lease)


def settle_lease(lease: str, cell_id: int, outcome: str) -> Statement:
    """Settle an open lease; its row has the number of destroys, no row if it is not open."""
    return Statement(_SETTLE, (outcome, lease, cell_id))


def activate_claims(lease: str, status: str) -> Statement:
    """Make a lease's claims of one status active, and free of the lease."""
    return Statement(_ACTIVATE, (lease, status))


def apply_replacements(lease: str) -> Statement:
    """Give replaced claims their new attributes."""
    return Statement(_APPLY_REPLACEMENTS, (lease,))


def remove_claims(lease: str, status: str) -> Statement:
    """Delete a lease's claims of one status; returns (bucket, value, cell, uuid, spelling) each."""
    return Statement(_REMOVE, (lease, status))


def forget_replacements(lease: str) -> Statement:
    """Delete what `store_replacements` has stored."""
    return Statement(_FORGET_REPLACEMENTS, (lease,))


def _rows(specs: Sequence[Creation]) -> list[tuple[Any, ...]]:
    """Return the columns of `_SPEC` for each claim, with a new uuid."""
    return [
        (
            spec.bucket,
            spec.value,
            name,
            spec.subject_type,
            spec.subject_id,
            spec.source_type,
            spec.source_id,
            spec.user_data,
            spec.spelling,
        )
        for spec, name in zip(specs, _uuids(len(specs)), strict=True)
    ]


def _uuids(number: int) -> list[str]:
    """Return random uuids, from one system call, because each call gives way to other threads."""
    size = 16
    random = os.urandom(size * number)
    parts = (random[at : at + size] for at in range(0, len(random), size))
    return [str(uuid.UUID(bytes=part, version=4)) for part in parts]
