"""Releases all claims of a retired cell, so that it can be deleted."""

from __future__ import annotations

from sqlalchemy import delete, select, tuple_

from control_plane.topology.cells import get_cell
from control_plane.topology.claims import epochs
from control_plane.topology.claims.texts import check_reason
from control_plane.topology.operations import Progress, no_progress
from control_plane.topology.storage import Store, Transaction, chunked, schema
from control_plane.topology.values import CellState, Refused

RELEASE_CLAIMS = 1000
"""Claims that each transaction releases."""
_C = schema.claims


class Releases:
    """Releases claims that no cell releases any more."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def release_all(
        self, cell: str, *, reason: str, actor: str, progress: Progress = no_progress
    ) -> int:
        """Release all claims of a retired cell, a bounded number a transaction; return how many.

        After an interruption, call it again to go on.

        Raises:
            Invalid: the reason is missing or too long.
            NotFound: there is no such cell.
            Refused: the cell is not retired, or has open leases.
        """
        total = 0
        while True:
            released, _ = self._store.write(actor, lambda tx: _release_some(tx, cell, reason))
            total += released
            progress(total)
            if released < RELEASE_CLAIMS:
                return total

    def check(self, cell: str, *, reason: str, actor: str) -> None:
        """Raise what `release_all` would raise, and change nothing."""
        self._store.write(actor, lambda tx: _release_some(tx, cell, reason), dry_run=True)


def _release_some(tx: Transaction, name: str, reason: str) -> int:
    """Release up to `RELEASE_CLAIMS` claims; return how many."""
    check_reason(reason)
    cell = get_cell(tx.connection, name)
    what = f"releasing all claims of {name}"
    if cell.state is not CellState.RETIRED:
        raise Refused(what, f"it is {cell.state}; retire it first")
    leases = schema.leases.c
    is_open = select(leases.uuid).where(leases.cell_id == cell.id, leases.settled_at.is_(None))
    if tx.connection.execute(is_open.limit(1)).first():
        raise Refused(what, "it has open leases; settle them first")
    query = select(_C.c.bucket, _C.c.value, _C.c.uuid, _C.c.spelling).where(_C.c.cell_id == cell.id)
    query = query.order_by(_C.c.bucket, _C.c.value).limit(RELEASE_CLAIMS)
    rows = tx.connection.execute(query).all()
    for chunk in chunked([(row.bucket, row.value) for row in rows]):
        tx.connection.execute(delete(_C).where(tuple_(_C.c.bucket, _C.c.value).in_(chunk)))
    epochs.freed(tx, [(row.bucket, row.value, cell.id) for row in rows])
    for row in rows:
        before = {"cell_id": cell.id, "cell": name, "uuid": row.uuid}
        if row.spelling is not None:
            before["spelling"] = row.spelling
        tx.log("claim", "delete", f"{row.bucket}:{row.value}", before, {"reason": reason})
    return len(rows)
