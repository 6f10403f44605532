"""Plain claims: one owner for each bucket and value, claimed and released without a lease."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import batched
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, delete, func, insert, or_, select, tuple_

from control_plane.names import MAX_PAGE
from control_plane.topology.cells.rows import get as get_cell
from control_plane.topology.changes import of_keys
from control_plane.topology.claims import epochs
from control_plane.topology.claims.bulk_lines import MAX_TEXT
from control_plane.topology.lookup.interface import open_lookup
from control_plane.topology.storage import schema
from control_plane.topology.storage.store import Store
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.change import Change, Written
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

MAX_CLAIMS = 1000
"""Claims in one claim or release."""
_KEYS_PER_QUERY = 400
_T = schema.claims
_ClaimKey = tuple[str, str]


class Claims:
    """Reads and writes claims; a write is one transaction, all or nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(
        self, specs: Sequence[ClaimSpec], *, actor: str, dry_run: bool = False
    ) -> Written[tuple[Claim, ...]]:
        """Claim all of the values (1 to 1,000) for their cells, or none.

        Raises:
            Invalid: a value or the number of claims is malformed, or a value comes twice.
            NotFound: there is no such cell.
            AlreadyExists: lists every value that is taken, and its owner.
            Refused: the cell is retired.
        """
        return self._store.written(actor, lambda tx: _claim(tx, specs), dry_run=dry_run)

    def release(
        self,
        keys: Sequence[_ClaimKey],
        *,
        actor: str,
        cell: str | None = None,
        dry_run: bool = False,
    ) -> Written[tuple[Claim, ...]]:
        """Release all of the claims (1 to 1,000), or none; with ``cell``, only that cell's.

        Raises:
            NotFound: lists the first value that is not claimed.
            Refused: another cell owns one.
            Locked: a lease holds some of them.
        """
        return self._store.written(actor, lambda tx: _release(tx, keys, cell), dry_run=dry_run)

    def get(self, bucket: str, value: str) -> Claim:
        """Return one claim; raise `NotFound`, or `Invalid` for a malformed key."""
        normal = normalise(bucket, value)
        with self._store.read() as connection:
            claims = _existing(connection, [(bucket, normal)])
        if not claims:
            raise NotFound("claim", f"{bucket}:{normal}")
        return claims[0]

    def page(
        self,
        *,
        bucket: str | None = None,
        cell: str | None = None,
        prefix: str | None = None,
        after: _ClaimKey | None = None,
        limit: int = 100,
    ) -> list[Claim]:
        """Return claims in the order of their keys.

        Args:
            bucket: only claims in this bucket.
            cell: only claims of this cell.
            prefix: only values that begin so (normalised).
            after: only keys after this one: the last of the page before.
            limit: 1 to 1,000.
        """
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
        with self._store.read() as connection:
            return [_from_row(row) for row in connection.execute(query)]

    def count(self) -> dict[str, int]:
        """Return the number of claims in each bucket."""
        query = select(_T.c.bucket, func.count()).group_by(_T.c.bucket)
        with self._store.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def count_of(self, cell: str) -> int:
        """Return the number of a cell's claims; raise `NotFound` if there is no such cell."""
        query = select(func.count()).select_from(_T)
        with self._store.read() as connection:
            query = query.where(_T.c.cell_id == get_cell(connection, cell).id)
            return int(connection.execute(query).scalar_one())

    def owners_of(self, keys: Sequence[_ClaimKey]) -> list[int | None]:
        """Return the id of the cell that owns each key, in order; None if none does."""
        lookup = open_lookup(self._store.engine)
        try:
            return lookup.owners(keys)
        finally:
            lookup.close()

    def audit(
        self, bucket: str, value: str, *, before: int | None = None, limit: int = 100
    ) -> list[Change]:
        """Return the newest changes of a claim and of the leases that touched it, oldest first.

        They reach back as far as the change feed does; the claim need not exist any more.

        Args:
            bucket: the claim's bucket.
            value: the claim's value, in any spelling.
            before: only changes before this revision.
            limit: how many changes of the claim, 1 to 1,000.
        """
        limit = min(max(limit, 1), MAX_PAGE)
        with self._store.read() as connection:
            key = f"{bucket}:{normalise(bucket, value)}"
            changes = of_keys(connection, [key], limit, before)
            sides = [side for change in changes for side in (change.before, change.after) if side]
            leases = {side["lease"] for side in sides if "lease" in side}
            changes += of_keys(connection, sorted(leases), 2 * limit)
        # A lease's entry stands first in its revision.
        return sorted(changes, key=lambda change: (change.revision, change.kind != "lease"))


def _claim(tx: Transaction, specs: Sequence[ClaimSpec]) -> tuple[Claim, ...]:
    _check_size(len(specs))
    columns = schema.cells.c
    query = select(columns.id, columns.name, columns.state)
    cells = {row.name: (row.id, row.state) for row in tx.connection.execute(query)}
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


def _release(tx: Transaction, keys: Sequence[_ClaimKey], cell: str | None) -> tuple[Claim, ...]:
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
    for chunk in batched(wanted, _KEYS_PER_QUERY):
        tx.connection.execute(delete(_T).where(tuple_(_T.c.bucket, _T.c.value).in_(chunk)))
    epochs.freed(tx, [(*key, found[key].cell_id) for key in wanted])
    for key in wanted:
        tx.log("claim", "delete", f"{key[0]}:{key[1]}", found[key].as_dict(), None)
    return tuple(found[key] for key in wanted)


def _check_size(size: int) -> None:
    if not 1 <= size <= MAX_CLAIMS:
        raise Invalid(Problem("claims", f"{size} in one batch", f"send 1 to {MAX_CLAIMS}"))


def _row(spec: ClaimSpec, value: str, cell_id: int, tx: Transaction) -> dict[str, Any]:
    for field in ("subject", "source"):
        text = getattr(spec, field)
        if text is not None and len(text) > MAX_TEXT:
            raise Invalid(Problem(field, "too long", f"at most {MAX_TEXT} characters"))
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
    for chunk in batched(keys, _KEYS_PER_QUERY):
        query = select(_T.c.bucket, _T.c.value, _T.c.lease).where(
            tuple_(_T.c.bucket, _T.c.value).in_(chunk), _T.c.lease.is_not(None)
        )
        held += [(f"{row.bucket}:{row.value}", row.lease) for row in connection.execute(query)]
    if held:
        raise Locked(tuple(held))


def _existing(connection: Connection, keys: Sequence[_ClaimKey]) -> list[Claim]:
    found: list[Claim] = []
    for chunk in batched(keys, _KEYS_PER_QUERY):
        query = _query().where(tuple_(_T.c.bucket, _T.c.value).in_(chunk))
        found += [_from_row(row) for row in connection.execute(query)]
    return found


def _query() -> Select[Any]:
    cells = schema.cells
    return select(_T, cells.c.name.label("cell")).join(cells, cells.c.id == _T.c.cell_id)


def _from_row(row: Row[Any]) -> Claim:
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
