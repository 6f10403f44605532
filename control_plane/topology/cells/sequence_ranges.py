"""Ranges of ids: a range that one cell was ever allotted is never allotted to another.

Cells number their own rows with ids of their ranges, so two cells with the same id would clash
when a tenant moves. The table ``sequence_ranges`` has every range that was ever allotted, also
those of deleted cells. A database that is restored from a backup has lost the newest ranges: the
mark file outside the database remembers the highest id, and nothing is allotted until an operator
confirms. Afterwards ids up to that mark (the floor) stay unused, because a lost cell may have
handed them out.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from control_plane.topology.storage import MarkFile, Transaction, schema
from control_plane.topology.values import (
    AlreadyExists,
    Cell,
    HighWaterMark,
    Invalid,
    NotFound,
    Problem,
    Refused,
    SequenceRange,
    SequenceUse,
)

MAX_ID = 2**63 - 1
DEFAULT_SIZE = 10**11
"""How many ids a range has by default. GitLab gives each further cell at least as many."""
_R = schema.sequence_ranges
_M = schema.sequence_marks


def allot(tx: Transaction, cell: Cell) -> None:
    """Record the ranges of a cell; those that it has already stay as they are.

    Raises:
        AlreadyExists: a range overlaps one of another cell, which may be deleted.
        Refused: the database is older than the mark file, or a range lies below the floor.
    """
    new = [piece for span in cell.sequence_ranges for piece in _uncovered(tx, cell, span)]
    if not new:
        return
    state = high_water_mark(tx.connection, tx.sequence_mark)
    _check_above(state, cell, min(piece.minval for piece in new))
    rows = [
        {
            "minval": piece.minval,
            "maxval": piece.maxval,
            "cell_id": cell.id,
            "cell": cell.name,
            "revision": tx.revision,
            "allotted_at": tx.at,
        }
        for piece in new
    ]
    tx.connection.execute(insert(_R), rows)
    _raise_mark(tx, max(state.mark, *(piece.maxval for piece in new)))


def _check_above(state: HighWaterMark, cell: Cell, low: int) -> None:
    if state.restored:
        why = (
            f"the database knows ids up to {state.mark}, the mark file up to {state.outside}:"
            " it was restored from a backup; confirm the sequences first"
        )
        raise Refused(f"allotting a sequence range to {cell.name}", why)
    if low <= state.floor:
        why = f"ids up to {state.floor} may be in use by a cell that a restored backup forgot"
        raise Refused(f"allotting ids from {low} to {cell.name}", why)


def next_range(tx: Transaction, size: int) -> SequenceRange:
    """Return the range of ``size`` ids above all that were ever allotted.

    Raises:
        Invalid: no such range is left.
    """
    if not 1 <= size <= MAX_ID:
        raise Invalid(Problem("size", "out of range", f"1 to {MAX_ID}"))
    state = high_water_mark(tx.connection, tx.sequence_mark)
    low = max(state.mark, state.floor) + 1
    if low + size - 1 > MAX_ID:
        raise Invalid(Problem("size", "no such range is left", f"at most {MAX_ID - low + 1}"))
    return SequenceRange(low, low + size - 1)


def forget_cell(tx: Transaction, cell_id: int) -> None:
    """Record that a cell is deleted: its ranges stay allotted, to nobody."""
    tx.connection.execute(update(_R).where(_R.c.cell_id == cell_id).values(cell_id=None))


def confirm(tx: Transaction) -> HighWaterMark:
    """Take the mark file's mark as true, after a restore: new ranges start above it."""
    state = high_water_mark(tx.connection, tx.sequence_mark)
    if not state.restored or state.outside is None:
        raise Refused("confirming the sequences", "the database is not older than the mark file")
    values = {"mark": state.outside, "floor": state.outside}
    tx.connection.execute(update(_M).values(values))
    before = {"mark": state.mark, "floor": state.floor}
    tx.log("sequence", "confirm", "mark", before, values)
    return HighWaterMark(state.outside, state.outside, state.outside)


def high_water_mark(connection: Connection, file: MarkFile | None) -> HighWaterMark:
    """Return the highest id allotted, as the database and as the mark file (if any) know it."""
    row = connection.execute(select(_M.c.mark, _M.c.floor)).one()
    return HighWaterMark(row.mark, row.floor, None if file is None else file.read().sequence)


def report(tx: Transaction, cell: Cell, last: int) -> SequenceUse:
    """Record the highest id that a cell has handed out; a lower one than before changes nothing.

    A cell uses its ranges in order, so the ranges below that id are used up.

    Raises:
        Invalid: the id is in none of the cell's ranges.
    """
    rows = _of_cell(tx.connection, cell.id)
    if not any(row.minval <= last <= row.maxval for row in rows):
        hint = "report an id of a range of the cell"
        raise Invalid(Problem("last", f"{last} is in no range of {cell.name}", hint))
    changed = False
    for row in rows:
        used = min(last, row.maxval)
        if row.minval <= last and used > (row.last_used or 0):
            changed = True
            tx.connection.execute(
                update(_R).where(_R.c.minval == row.minval).values(last_used=used)
            )
    if changed:
        tx.log("sequence", "report", cell.name, None, {"cell_id": cell.id, "last": last})
    return next(use for use in uses(tx.connection) if use.cell == cell.name)


def uses(connection: Connection) -> list[SequenceUse]:
    """Return how far each cell's ranges are used, ordered by name; without deleted cells."""
    query = (
        select(
            _R.c.cell,
            func.sum(_R.c.maxval - _R.c.minval + 1).label("allotted"),
            func.sum(func.coalesce(_R.c.last_used - _R.c.minval + 1, 0)).label("used"),
        )
        .where(_R.c.cell_id.is_not(None))
        .group_by(_R.c.cell)
        .order_by(_R.c.cell)
    )
    return [
        SequenceUse(row.cell, int(row.allotted), int(row.used)) for row in connection.execute(query)
    ]


def _of_cell(connection: Connection, cell_id: int) -> list[Row[Any]]:
    query = select(_R).where(_R.c.cell_id == cell_id).order_by(_R.c.minval)
    rows = list(connection.execute(query))
    if not rows:
        raise NotFound("sequence range of cell", str(cell_id))
    return rows


def _uncovered(tx: Transaction, cell: Cell, span: SequenceRange) -> list[SequenceRange]:
    """Return the parts of a range that no cell has yet.

    Raises:
        AlreadyExists: another cell has a part.
    """
    overlapping = (
        select(_R)
        .where(_R.c.minval <= span.maxval, _R.c.maxval >= span.minval)
        .order_by(_R.c.minval)
    )
    pieces: list[SequenceRange] = []
    low = span.minval
    for row in tx.connection.execute(overlapping):
        if row.cell_id != cell.id:
            owner = row.cell if row.cell_id is not None else f"{row.cell}, deleted"
            raise AlreadyExists("sequence range", ((f"{span.minval}..{span.maxval}", owner),))
        if low < row.minval:
            pieces.append(SequenceRange(low, row.minval - 1))
        low = row.maxval + 1
    if low <= span.maxval:
        pieces.append(SequenceRange(low, span.maxval))
    return pieces


def _raise_mark(tx: Transaction, new: int) -> None:
    tx.connection.execute(update(_M).where(_M.c.mark < new).values(mark=new))
    file = tx.sequence_mark
    if file is not None:
        # The file is raised before the commit: a crash in between wastes ids. In the other order
        # it could allot them twice.
        tx.before_commit.append(lambda: file.raise_to(sequence=new))
