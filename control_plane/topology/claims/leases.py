"""The claims protocol: begin, commit and roll back updates of claims under leases.

The source of the protocol is section 2 of the GitLab Cells fact sheet: the cell is the authority,
the service follows; a lease never expires by itself. Each step is one transaction, and for creates
one round trip. Beyond GitLab's: a value that is destroyed and created in one update is replaced in
place, and a begin repeated under its idempotency key gives the same lease.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import delete, select

from control_plane.names import MAX_REASON_CHARS
from control_plane.topology.claims import conflicts, epochs
from control_plane.topology.claims.update import Batch, Creation
from control_plane.topology.storage import schema
from control_plane.topology.storage.group_commit import Write
from control_plane.topology.storage.statements import (
    Result,
    Statement,
    chunked,
    in_keys,
    moment,
    rows,
)
from control_plane.topology.storage.transaction import Transaction, bounded
from control_plane.topology.values.change import Change, Written
from control_plane.topology.values.claim import Lease
from control_plane.topology.values.errors import Invalid, LeaseSettled, NotFound, Problem, Refused

SETTLED_KEPT = timedelta(hours=24)
"""How long a settled lease is remembered; a repetition after that finds no lease."""
_PRUNE_EVERY = 512
_PRUNE_AT_ONCE = 4 * _PRUNE_EVERY
Outcome = Literal["committed", "rolled back"]

_NOW = "(SELECT at FROM revisions)"
_OPEN = """
INSERT INTO leases (uuid, state, idempotency_key, fingerprint, destroys,
    cell_id, revision, created_at, updated_at)
SELECT CAST(? AS varchar(36)), 'open', CAST(? AS varchar(256)), CAST(? AS varchar(64)),
    CAST(? AS smallint), c.id, r.revision, r.at, r.at
FROM cells c CROSS JOIN revisions r
WHERE c.id = ? AND c.state <> 'retired'
ON CONFLICT DO NOTHING"""
_SPEC = "bucket, value, uuid, subject_type, subject_id, source_type, source_id, user_data, spelling"
_CREATE = f"""
INSERT INTO claims ({_SPEC}, lease, cell_id, status, revision, created_at, updated_at)
SELECT v.*, l.uuid, l.cell_id, 'creating', l.revision, l.created_at, l.created_at
FROM (VALUES {{rows}}) AS v CROSS JOIN leases l
WHERE l.uuid = ?
ON CONFLICT DO NOTHING"""  # noqa: S608 - column names of our own
_REPLACE = f"""
INSERT INTO replacements ({_SPEC}, lease, created_at)
SELECT v.*, l.uuid, l.created_at
FROM (VALUES {{rows}}) AS v CROSS JOIN leases l
WHERE l.uuid = ?"""  # noqa: S608 - column names of our own
_DESTROY = f"""
UPDATE claims SET status = 'destroying', lease = ?, updated_at = {_NOW}
WHERE {{keys}} AND cell_id = ? AND lease IS NULL"""  # noqa: S608 - no text from outside
_LOG = """
INSERT INTO changes (ordinal, kind, action, key, before, after, actor, revision, at)
SELECT v.*, r.revision, r.at
FROM (VALUES {rows}) AS v CROSS JOIN revisions r"""
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


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the change feed before its revision is known."""

    kind: str
    action: str
    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def beginning(
    cell_id: int, batch: Batch, *, actor: str, idempotency_key: str | None
) -> Write[Written[Lease]]:
    """Creates and locks what the batch names under a new lease, or nothing of it.

    The write raises:
        NotFound: no such cell, or a destroyed claim doesn't exist.
        Refused: the cell is retired, or another cell owns a destroyed claim.
        AlreadyExists: values are taken, also by a pending create; lists all of them.
        Locked: another lease is destroying a wanted value, or holds a destroyed claim.
        Invalid: the idempotency key was used for another batch.
    """
    actor = bounded(actor)
    lease = str(uuid.uuid4())
    fingerprint = batch.fingerprint() if idempotency_key is not None else None
    entries = _begun(lease, cell_id, batch)
    params = (lease, idempotency_key, fingerprint, len(batch.destroys), cell_id)
    creates = _inserts(_CREATE, batch.creates, lease)
    destroys = _destroys(batch, lease, cell_id)
    statements = [
        Statement(_OPEN, params),
        *creates,
        *destroys,
        *_inserts(_REPLACE, batch.replaced, lease),
        *_logged(entries, actor),
        *(epochs.claimed_under(lease) if creates else ()),
    ]

    def changed(results: list[Result]) -> tuple[int, int]:
        """How many claims were made, and how many marked."""
        counts = [one.count for one in results[1 : 1 + len(creates) + len(destroys)]]
        return sum(counts[: len(creates)]), sum(counts[len(creates) :])

    def is_plain(results: list[Result]) -> bool:
        wanted = (len(batch.creates), len(batch.destroys))
        return bool(results[0].count) and changed(results) == wanted

    def finish(tx: Transaction, results: list[Result]) -> Written[Lease]:
        if not results[0].count:
            return _not_opened(tx, cell_id, idempotency_key, fingerprint)
        made, marked = changed(results)
        if marked < len(batch.destroys) or made < len(batch.creates):
            conflicts.explain(tx, batch, lease, cell_id)
        if tx.due(_PRUNE_EVERY):
            _prune(tx)
        return Written(Lease(lease, cell_id, tx.at, tx.at), tx.revision, _changes(entries, tx))

    return Write(statements, finish, actor, is_plain=is_plain)


def settling(
    cell_id: int, lease: str, outcome: Outcome, *, actor: str, reason: str | None
) -> Write[int]:
    """Commits or rolls back; gives the revision, of the first time if it is settled so already.

    The write raises:
        NotFound: the cell has no such lease, or it was settled more than a day ago.
        LeaseSettled: it was settled the other way.
    """
    actor = bounded(actor)
    committing = outcome == "committed"
    after: dict[str, Any] = {"cell_id": cell_id, "state": outcome}
    if reason is not None:
        after["reason"] = reason[:MAX_REASON_CHARS]
    entry = _Entry("lease", "commit" if committing else "rollback", lease, None, after)
    statements = [
        Statement(_SETTLE, (outcome, lease, cell_id)),
        Statement(_ACTIVATE, (lease, "creating" if committing else "destroying")),
        *_logged([entry], actor),
    ]

    def finish(tx: Transaction, results: list[Result]) -> int:
        if not results[0].rows:
            return _settled_before(tx, cell_id, lease, outcome)
        if not committing:
            _roll_back_rest(tx, lease, actor)
        elif results[0].rows[0][0]:
            _commit_destroys(tx, lease, actor)
        return tx.revision

    def is_plain(results: list[Result]) -> bool:
        return bool(results[0].rows) and not results[0].rows[0][0]

    return Write(statements, finish, actor, ahead=True, is_plain=is_plain if committing else None)


def _inserts(sql: str, specs: Sequence[Creation], lease: str) -> list[Statement]:
    made: list[Statement] = []
    for chunk in chunked(specs):
        named = zip(chunk, _uuids(len(chunk)), strict=True)
        params = [item for spec, name in named for item in _columns(spec, name)]
        made.append(Statement(sql.replace("{rows}", rows(len(chunk), 9)), [*params, lease]))
    return made


def _uuids(number: int) -> list[str]:
    """Random ones. All from one call of the system: each lets other threads go first."""
    size = 16
    random = os.urandom(size * number)
    parts = (random[at : at + size] for at in range(0, len(random), size))
    return [str(uuid.UUID(bytes=part, version=4)) for part in parts]


def _columns(spec: Creation, name: str) -> tuple[Any, ...]:
    return (
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


def _destroys(batch: Batch, lease: str, cell_id: int) -> list[Statement]:
    made: list[Statement] = []
    for chunk in chunked(batch.destroys):
        keys = in_keys(chunk)
        sql = _DESTROY.replace("{keys}", keys.sql)
        made.append(Statement(sql, (lease, *keys.params, cell_id)))
    return made


def _logged(entries: Sequence[_Entry], actor: str, first: int = 0) -> list[Statement]:
    made: list[Statement] = []
    for chunk in chunked(entries):
        params: list[Any] = []
        for entry in chunk:
            before = None if entry.before is None else json.dumps(entry.before)
            after = None if entry.after is None else json.dumps(entry.after)
            params += (first, entry.kind, entry.action, entry.key, before, after, actor)
            first += 1
        made.append(Statement(_LOG.replace("{rows}", rows(len(chunk), 7)), params))
    return made


def _changes(entries: Sequence[_Entry], tx: Transaction) -> tuple[Change, ...]:
    return tuple(
        Change(tx.revision, e.kind, e.action, e.key, e.before, e.after, tx.actor, tx.at)
        for e in entries
    )


def _begun(lease: str, cell_id: int, batch: Batch) -> list[_Entry]:
    counts = {"cell_id": cell_id, "creates": len(batch.creates), "destroys": len(batch.destroys)}
    entries = [_Entry("lease", "begin", lease, None, counts)]
    for spec in batch.creates:
        after = _described(spec, cell_id, lease)
        entries.append(_Entry("claim", "create", f"{spec.bucket}:{spec.value}", None, after))
    held = {"cell_id": cell_id, "lease": lease}
    replaced = {(spec.bucket, spec.value): spec for spec in batch.replaced}
    for key in batch.destroys:
        new = replaced.get(key)
        action = "destroy" if new is None else "replace"
        after = held if new is None else _described(new, cell_id, lease)
        entries.append(_Entry("claim", action, f"{key[0]}:{key[1]}", None, after))
    return entries


def _described(spec: Creation, cell_id: int, lease: str) -> dict[str, Any]:
    spelled = {} if spec.spelling is None else {"spelling": spec.spelling}
    return spelled | {
        "bucket": spec.bucket,
        "value": spec.value,
        "cell_id": cell_id,
        "lease": lease,
        "subject_type": spec.subject_type,
        "subject_id": spec.subject_id,
        "source_type": spec.source_type,
        "source_id": spec.source_id.hex(),
    }


def _not_opened(
    tx: Transaction, cell_id: int, key: str | None, fingerprint: str | None
) -> Written[Lease]:
    """A begin under a used key gives what it gave; else the cell can't have one."""
    leases, cells = schema.leases.c, schema.cells.c
    tx.abandoned = True
    if key is not None:
        query = select(schema.leases).where(
            leases.cell_id == cell_id, leases.idempotency_key == key
        )
        row = tx.connection.execute(query).one_or_none()
        if row is not None and row.fingerprint != fingerprint:
            mend = "use a new key for a new batch"
            raise Invalid(Problem("idempotency-key", "was used for another batch", mend))
        if row is not None:
            made = Lease(row.uuid, cell_id, moment(row.created_at), moment(row.updated_at))
            return Written(made, row.revision, ())
    name = tx.connection.execute(select(cells.name).where(cells.id == cell_id)).scalar()
    if name is None:
        raise NotFound("cell", str(cell_id))
    raise Refused(f"an update of {name}", "it is retired")


def _settled_before(tx: Transaction, cell_id: int, lease: str, outcome: Outcome) -> int:
    tx.abandoned = True
    columns = schema.leases.c
    query = select(columns.state, columns.revision).where(
        columns.uuid == lease, columns.cell_id == cell_id
    )
    row = tx.connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("lease", lease)
    if row.state != outcome:
        raise LeaseSettled(lease, row.state)
    return int(row.revision)


def _commit_destroys(tx: Transaction, lease: str, actor: str) -> None:
    replaced, gone, _ = tx.execute(
        [
            Statement(_APPLY_REPLACEMENTS, (lease,)),
            Statement(_REMOVE, (lease, "destroying")),
            Statement(_FORGET_REPLACEMENTS, (lease,)),
        ]
    )
    epochs.freed(tx, [(row[0], row[1], row[2]) for row in gone.rows])
    entries = [_removed(row, lease) for row in gone.rows]
    for bucket, value, cell_id, new in replaced.rows:
        after = {"cell_id": cell_id, "lease": lease, "uuid": new}
        entries.append(_Entry("claim", "update", f"{bucket}:{value}", None, after))
    tx.execute(_logged(entries, actor, first=1))


def _roll_back_rest(tx: Transaction, lease: str, actor: str) -> None:
    gone, _ = tx.execute(
        [Statement(_REMOVE, (lease, "creating")), Statement(_FORGET_REPLACEMENTS, (lease,))]
    )
    epochs.freed(tx, [(row[0], row[1], row[2]) for row in gone.rows])
    tx.execute(_logged([_removed(row, lease) for row in gone.rows], actor, first=1))


def _removed(row: tuple[Any, ...], lease: str) -> _Entry:
    bucket, value, cell_id, old, spelling = row
    before = {"bucket": bucket, "value": value, "cell_id": cell_id, "lease": lease, "uuid": old}
    if spelling is not None:
        before["spelling"] = spelling
    return _Entry("claim", "delete", f"{bucket}:{value}", before, None)


def _prune(tx: Transaction) -> None:
    """Forget leases that were settled long ago, faster than new ones come."""
    leases = schema.leases.c
    old = (
        select(leases.uuid)
        .where(leases.settled_at < tx.at - SETTLED_KEPT)
        .order_by(leases.settled_at)
        .limit(_PRUNE_AT_ONCE)
    )
    tx.connection.execute(delete(schema.leases).where(leases.uuid.in_(old)))
