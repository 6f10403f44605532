"""Plain claims: one owner for each bucket and value, claimed and released without a lease."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import batched
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    delete,
    insert,
    select,
    tuple_,
)

from control_plane.topology.claims import epochs
from control_plane.topology.claims.texts import check_text
from control_plane.topology.storage import Transaction, schema
from control_plane.topology.values import (
    AlreadyExists,
    CellState,
    Claim,
    ClaimKey,
    ClaimSpec,
    Invalid,
    KeyPair,
    Locked,
    NotFound,
    Problem,
    RecordStatus,
    Refused,
    is_storable,
    normalise,
    normalise_spelled,
    normalised_or_none,
)

MAX_CLAIMS = 1000
"""The most claims in one call of `claim` or `release`."""
_KEYS_PER_QUERY = 400
_T = schema.claims


def claim(tx: Transaction, specs: Sequence[ClaimSpec]) -> tuple[Claim, ...]:
    """Claim all of the values for their cells, or none; `Claims.claim` says what it raises."""
    _check_number(len(specs))
    rows = _new_rows(tx, specs)
    taken = existing(tx.connection, list(rows))
    if taken:
        raise AlreadyExists("claim", tuple((str(key), one.cell) for key, one in taken.items()))
    tx.connection.execute(insert(_T), list(rows.values()))
    epochs.claimed(tx, {key: row["cell_id"] for key, row in rows.items()})
    claims = tuple(
        Claim(*key, row["cell_id"], spec.cell, spec.subject, spec.source, tx.revision, tx.at,
              row["spelling"])
        for (key, row), spec in zip(rows.items(), specs, strict=True)
    )  # fmt: skip
    for key, claim in zip(rows, claims, strict=True):
        tx.log("claim", "create", str(key), None, claim.as_dict())
    return claims


def release(tx: Transaction, pairs: Sequence[KeyPair], cell: str | None) -> tuple[Claim, ...]:
    """Release all of the claims, or none; `Claims.release` says what it raises."""
    _check_number(len(pairs))
    keys = _stored_keys(tx.connection, pairs)
    claims = existing(tx.connection, keys)
    for key in keys:
        if key not in claims:
            raise NotFound("claim", str(key))
        owner = claims[key].cell
        if cell is not None and owner != cell:
            raise Refused(f"releasing {key}", f"{owner} owns it, not {cell}")
    _check_unlocked(tx.connection, keys)
    for chunk in batched(keys, _KEYS_PER_QUERY):
        tx.connection.execute(delete(_T).where(_in(chunk)))
    epochs.freed(tx, [(*key, claims[key].cell_id) for key in keys])
    for key in keys:
        tx.log("claim", "delete", str(key), claims[key].as_dict(), None)
    return tuple(claims[key] for key in keys)


def _stored_keys(connection: Connection, pairs: Sequence[KeyPair]) -> list[ClaimKey]:
    """Return the keys of claims to release, each once.

    A key that is stored just as it was sent, and isn't normalised, is left over from an older
    version (see `storage.spellings`). It is the claim that is meant; there is no other way to it.

    Raises:
        Invalid: a key is malformed, and not stored so.
    """
    respelled = [
        ClaimKey(*pair)
        for pair in pairs
        if is_storable("".join(pair)) and normalised_or_none(*pair) != pair[1]
    ]
    old = existing(connection, respelled) if respelled else {}
    return list(
        dict.fromkeys(
            key if key in old else ClaimKey(key.bucket, normalise(*key))
            for key in map(ClaimKey._make, pairs)
        )
    )


def _check_number(number: int) -> None:
    if not 1 <= number <= MAX_CLAIMS:
        raise Invalid(Problem("claims", f"{number} in one request", f"send 1 to {MAX_CLAIMS}"))


def _new_rows(tx: Transaction, specs: Sequence[ClaimSpec]) -> dict[ClaimKey, dict[str, Any]]:
    """Return a row for each claim, in order.

    Raises:
        Invalid: a claim is malformed, or a key comes twice.
        NotFound: there is no such cell.
        Refused: the cell is retired.
    """
    columns = schema.cells.c
    all_cells = select(columns.id, columns.name, columns.state)
    cells = {row.name: (row.id, row.state) for row in tx.connection.execute(all_cells)}
    rows: dict[ClaimKey, dict[str, Any]] = {}
    for spec in specs:
        cell_id, state = cells.get(spec.cell, (None, None))
        if cell_id is None:
            raise NotFound("cell", spec.cell)
        if not CellState(state).takes_claims:
            raise Refused(f"claiming for {spec.cell}", "it is retired")
        value, spelling = normalise_spelled(spec.bucket, spec.value)
        key = ClaimKey(spec.bucket, value)
        if key in rows:
            raise Invalid(Problem("claims", f"{key} stands twice in the request", "keep one"))
        rows[key] = _new_row(tx, spec, key, cell_id) | {"spelling": spelling}
    return rows


def _new_row(tx: Transaction, spec: ClaimSpec, key: ClaimKey, cell_id: int) -> dict[str, Any]:
    if spec.subject is not None:
        check_text("subject", spec.subject)
    if spec.source is not None:
        check_text("source", spec.source)
    return {
        "bucket": key.bucket,
        "value": key.value,
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


def _check_unlocked(connection: Connection, keys: Sequence[ClaimKey]) -> None:
    locked: list[tuple[str, str]] = []
    for chunk in batched(keys, _KEYS_PER_QUERY):
        leased = select(_T.c.bucket, _T.c.value, _T.c.lease).where(_T.c.lease.is_not(None))
        rows = connection.execute(leased.where(_in(chunk)))
        locked += [(f"{row.bucket}:{row.value}", row.lease) for row in rows]
    if locked:
        raise Locked(tuple(locked))


def existing(connection: Connection, keys: Sequence[ClaimKey]) -> dict[ClaimKey, Claim]:
    """Return those of the claims that exist, by key."""
    claims: dict[ClaimKey, Claim] = {}
    for chunk in batched(keys, _KEYS_PER_QUERY):
        for row in connection.execute(query().where(_in(chunk))):
            claims[ClaimKey(row.bucket, row.value)] = from_row(row)
    return claims


def owner_ids(connection: Connection, keys: Sequence[ClaimKey]) -> dict[ClaimKey, int]:
    """Return the owning cell's id of those of the claims that exist, by normalised key."""
    owners: dict[ClaimKey, int] = {}
    query = select(_T.c.bucket, _T.c.value, _T.c.cell_id)
    for chunk in batched(keys, _KEYS_PER_QUERY):
        for row in connection.execute(query.where(_in(chunk))):
            owners[ClaimKey(row.bucket, row.value)] = row.cell_id
    return owners


def _in(keys: Sequence[ClaimKey]) -> ColumnElement[bool]:
    return tuple_(_T.c.bucket, _T.c.value).in_(keys)


def query() -> Select[Any]:
    """Select claims with the names of their cells."""
    cells = schema.cells
    return select(_T, cells.c.name.label("cell")).join(cells, cells.c.id == _T.c.cell_id)


def from_row(row: Row[Any]) -> Claim:
    """Return the claim of a row that `query` selected."""
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
