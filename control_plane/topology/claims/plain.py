"""Reads and writes claims: one owner per bucket and value, batches all or nothing."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, delete, func, insert, or_, select, tuple_

from control_plane.names import MAX_PAGE
from control_plane.topology.claims import epochs
from control_plane.topology.storage import schema
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.claim import Claim, ClaimSpec, RecordStatus
from control_plane.topology.values.claim_key import can_be_kept, normalise, normalise_spelled
from control_plane.topology.values.errors import (
    AlreadyExists,
    Invalid,
    Locked,
    NotFound,
    Problem,
    Refused,
)

MAX_BATCH = 1000
"""Claims in one claim or release."""
_LOOKUP_CHUNK = 400
_T = schema.claims
_ClaimKey = tuple[str, str]


def _query() -> Select[Any]:
    cells = schema.cells
    return select(_T, cells.c.name.label("cell")).join(cells, cells.c.id == _T.c.cell_id)


def _claim(row: Row[Any]) -> Claim:
    at: datetime = row.created_at
    return Claim(
        row.bucket,
        row.value,
        row.cell_id,
        row.cell,
        row.subject,
        row.source,
        row.revision,
        at if at.tzinfo else at.replace(tzinfo=UTC),
        row.spelling,
    )


def get(connection: Connection, bucket: str, value: str) -> Claim:
    """One claim; raises `NotFound` or `Invalid`."""
    value = normalise(bucket, value)
    found = _existing(connection, [(bucket, value)])
    if not found:
        raise NotFound("claim", f"{bucket}:{value}")
    return found[0]


def page(
    connection: Connection,
    *,
    bucket: str | None = None,
    cell: str | None = None,
    prefix: str | None = None,
    after: _ClaimKey | None = None,
    limit: int = 100,
) -> list[Claim]:
    """Claims in key order, after a key; at most ``limit`` (1 to 1,000)."""
    query = _query()
    if bucket is not None:
        query = query.where(_T.c.bucket == bucket)
    if cell is not None:
        query = query.where(schema.cells.c.name == cell)
    if prefix:
        query = query.where(_T.c.value >= prefix, _T.c.value < prefix + "\U0010ffff")
    if after is not None:
        later = and_(_T.c.bucket == after[0], _T.c.value > after[1])
        query = query.where(or_(_T.c.bucket > after[0], later))
    query = query.order_by(_T.c.bucket, _T.c.value).limit(min(max(limit, 1), MAX_PAGE))
    return [_claim(row) for row in connection.execute(query)]


def count(connection: Connection) -> dict[str, int]:
    """Number of claims per bucket."""
    query = select(_T.c.bucket, func.count()).group_by(_T.c.bucket)
    return {row[0]: row[1] for row in connection.execute(query)}


def claim(tx: Transaction, specs: Sequence[ClaimSpec]) -> tuple[Claim, ...]:
    """Claim all of them for their cells, or none.

    Raises:
        Invalid: a value or the batch is malformed, or holds a value twice.
        NotFound: no such cell.
        AlreadyExists: lists every value that is taken, and by whom.
        Refused: the cell is retired.
    """
    _check_size(len(specs))
    cells = {row.name: (row.id, row.state) for row in _cells(tx.connection)}
    rows: list[dict[str, Any]] = []
    keys: list[_ClaimKey] = []
    for spec in specs:
        if spec.cell not in cells:
            raise NotFound("cell", spec.cell)
        if cells[spec.cell][1] == "retired":
            raise Refused(f"claiming for {spec.cell}", "it is retired")
        value, spelling = normalise_spelled(spec.bucket, spec.value)
        keys.append((spec.bucket, value))
        rows.append(_row(spec, value, cells[spec.cell][0], tx) | {"spelling": spelling})
    if len(set(keys)) < len(keys):
        twice = min(f"{b}:{v}" for b, v in keys if keys.count((b, v)) > 1)
        raise Invalid(Problem("claims", f"{twice} stands twice in the batch", "keep one"))
    taken = _existing(tx.connection, keys)
    if taken:
        raise AlreadyExists("claim", tuple((f"{c.bucket}:{c.value}", c.cell) for c in taken))
    tx.connection.execute(insert(_T), rows)
    epochs.claimed(tx, {(row["bucket"], row["value"]): row["cell_id"] for row in rows})
    made = tuple(_made(row, spec.cell) for row, spec in zip(rows, specs, strict=True))
    for one in made:
        tx.log("claim", "create", f"{one.bucket}:{one.value}", None, one.as_dict())
    return made


def release(
    tx: Transaction, keys: Sequence[_ClaimKey], *, cell: str | None = None
) -> tuple[Claim, ...]:
    """Free all of them, or none; with ``cell``, only if that cell owns every one.

    Raises:
        NotFound: the first value that is not claimed.
        Refused: another cell owns one.
        Locked: a lease holds some of them.
    """
    _check_size(len(keys))
    wanted = list(dict.fromkeys((bucket, normalise(bucket, value)) for bucket, value in keys))
    found = {(one.bucket, one.value): one for one in _existing(tx.connection, wanted)}
    for bucket, value in wanted:
        one = found.get((bucket, value))
        if one is None:
            raise NotFound("claim", f"{bucket}:{value}")
        if cell is not None and one.cell != cell:
            raise Refused(f"releasing {bucket}:{value}", f"{one.cell} owns it, not {cell}")
    _check_free(tx.connection, wanted)
    for chunk in _chunks(wanted):
        tx.connection.execute(delete(_T).where(tuple_(_T.c.bucket, _T.c.value).in_(chunk)))
    epochs.freed(tx, [(*key, found[key].cell_id) for key in wanted])
    for key in wanted:
        tx.log("claim", "delete", f"{key[0]}:{key[1]}", found[key].as_dict(), None)
    return tuple(found[key] for key in wanted)


def _check_size(size: int) -> None:
    if not 1 <= size <= MAX_BATCH:
        raise Invalid(Problem("claims", f"{size} in one batch", f"send 1 to {MAX_BATCH}"))


def _row(spec: ClaimSpec, value: str, cell_id: int, tx: Transaction) -> dict[str, Any]:
    for field in ("subject", "source"):
        text = getattr(spec, field)
        if text is not None and len(text) > 160:
            raise Invalid(Problem(field, "too long", "at most 160 characters"))
        if text is not None and not can_be_kept(text):
            raise Invalid(Problem(field, f"{text!r} has a NUL or a lone surrogate", "leave it out"))
    return {
        "bucket": spec.bucket,
        "value": value,
        "cell_id": cell_id,
        "subject": spec.subject,
        "source": spec.source,
        "revision": tx.revision,
        "created_at": tx.at,
        "updated_at": tx.at,
        "uuid": str(uuid.uuid4()),
        "status": str(RecordStatus.ACTIVE),
        "subject_type": 0,
        "subject_id": 0,
        "source_type": 0,
    }


def _made(row: dict[str, Any], cell: str) -> Claim:
    return Claim(
        row["bucket"],
        row["value"],
        row["cell_id"],
        cell,
        row["subject"],
        row["source"],
        row["revision"],
        row["created_at"],
        row["spelling"],
    )


def _check_free(connection: Connection, keys: Sequence[_ClaimKey]) -> None:
    held: list[tuple[str, str]] = []
    for chunk in _chunks(keys):
        query = select(_T.c.bucket, _T.c.value, _T.c.lease).where(
            tuple_(_T.c.bucket, _T.c.value).in_(chunk), _T.c.lease.is_not(None)
        )
        held += [(f"{row.bucket}:{row.value}", row.lease) for row in connection.execute(query)]
    if held:
        raise Locked(tuple(held))


def _cells(connection: Connection) -> Sequence[Any]:
    cells = schema.cells
    return connection.execute(select(cells.c.id, cells.c.name, cells.c.state)).all()


def _chunks(keys: Sequence[_ClaimKey]) -> list[Sequence[_ClaimKey]]:
    return [keys[at : at + _LOOKUP_CHUNK] for at in range(0, len(keys), _LOOKUP_CHUNK)]


def _existing(connection: Connection, keys: Sequence[_ClaimKey]) -> list[Claim]:
    found: list[Claim] = []
    for chunk in _chunks(keys):
        query = _query().where(tuple_(_T.c.bucket, _T.c.value).in_(chunk))
        found += [_claim(row) for row in connection.execute(query)]
    return found
