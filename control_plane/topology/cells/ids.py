"""Ids of cells. Tokens, claims and sequences refer to them: none is ever another cell's."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select, update

from control_plane.topology.storage import schema
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.cell import MAX_CELL_ID, Cell
from control_plane.topology.values.errors import AlreadyExists, Invalid, Problem

_T = schema.cell_ids


def next_id(tx: Transaction) -> int:
    """The id after all that were ever given, also by what a restored backup has forgotten.

    Raises:
        Invalid: none is left above them.
    """
    outside = tx.sequence_mark.marks().cell if tx.sequence_mark is not None else 0
    found = max(highest(tx.connection), outside) + 1
    if found > MAX_CELL_ID:
        mend = f"name an id that no cell ever had, 1 to {MAX_CELL_ID}"
        raise Invalid(Problem("id", f"none is left above {found - 1}", mend))
    return found


def assign(tx: Transaction, cell: Cell) -> None:
    """Note that a new cell has its id; no living cell has it.

    Raises:
        AlreadyExists: a cell had it that was deleted, or another that a restore has lost.
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
        # Before the commit: a crash in between wastes an id, the other way round it doubles one.
        tx.before_commit.append(lambda: file.raise_to(cell=cell.id))


def tombstone(tx: Transaction, cell: Cell) -> None:
    """The cell is deleted: its id stays given."""
    tx.connection.execute(update(_T).where(_T.c.id == cell.id).values(deleted_at=tx.at))


def highest(connection: Connection) -> int:
    """The highest id that was ever given; 0 before the first."""
    return int(connection.execute(select(func.max(_T.c.id))).scalar_one() or 0)
