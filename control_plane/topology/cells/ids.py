"""Ids of cells. Tokens, claims and sequences refer to a cell by its id, so no id is used twice.

The table ``cell_ids`` has every id that was ever assigned, also those of deleted cells (their rows
are tombstones). A database that is restored from a backup has lost the ids that were assigned
since; the mark file outside the database remembers the highest one.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select, update

from control_plane.topology.storage import Transaction, schema
from control_plane.topology.values import MAX_CELL_ID, AlreadyExists, Cell, Invalid, Problem

_T = schema.cell_ids


def next_id(tx: Transaction) -> int:
    """Return the id above all that were ever assigned, also by what a restore has lost.

    Raises:
        Invalid: none is left above them.
    """
    in_file = tx.sequence_mark.read().cell if tx.sequence_mark is not None else 0
    last = max(highest(tx.connection), in_file)
    if last >= MAX_CELL_ID:
        hint = f"name an id that no cell ever had, 1 to {MAX_CELL_ID}"
        raise Invalid(Problem("id", f"none is left above {last}", hint))
    return last + 1


def assign(tx: Transaction, cell: Cell) -> None:
    """Record that a new cell has its id; the caller has checked that no living cell has it.

    Raises:
        AlreadyExists: a deleted cell had it, or a cell of another name that a restore has lost.
    """
    row = tx.connection.execute(select(_T).where(_T.c.id == cell.id)).one_or_none()
    if row is None:
        values = {"id": cell.id, "cell": cell.name, "given_at": tx.at}
        tx.connection.execute(insert(_T).values(values))
    elif row.deleted_at is not None:
        owner = f"{row.cell}, deleted: its id is never given again"
        raise AlreadyExists("cell id", ((str(cell.id), owner),))
    elif row.cell != cell.name:
        owner = f"{row.cell}, which a restore has lost: make that one anew, or take another id"
        raise AlreadyExists("cell id", ((str(cell.id), owner),))
    file = tx.sequence_mark
    if file is not None:
        # The file is raised before the commit: a crash in between wastes an id. In the other order
        # it could assign one twice.
        tx.before_commit.append(lambda: file.raise_to(cell=cell.id))


def tombstone(tx: Transaction, cell: Cell) -> None:
    """Record that a cell is deleted; its id stays assigned."""
    tx.connection.execute(update(_T).where(_T.c.id == cell.id).values(deleted_at=tx.at))


def highest(connection: Connection) -> int:
    """Return the highest id that was ever assigned; 0 before the first."""
    return int(connection.execute(select(func.max(_T.c.id))).scalar_one() or 0)
