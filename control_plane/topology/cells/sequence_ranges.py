"""Ranges of ids: what one cell was ever allotted no other cell gets, deleted or restored or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from control_plane.topology.storage import schema
from control_plane.topology.storage.mark_file import MarkFile
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.cell import Cell, SequenceRange
from control_plane.topology.values.errors import AlreadyExists, Invalid, NotFound, Problem, Refused

MAX_ID = 2**63 - 1
DEFAULT_SIZE = 10**11
"""What GitLab gives each further cell at least."""
ALARM_SHARE = 0.9
"""GitLab's hard limit for the saturation of a sequence."""
_R = schema.sequence_ranges
_M = schema.sequence_marks


@dataclass(frozen=True, slots=True)
class SequenceUse:
    """A cell's ranges together: how many ids it was allotted, and has reported as used."""

    cell: str
    allotted: int
    used: int

    @property
    def share(self) -> float:
        """Used ÷ allotted, 0 to 1."""
        return self.used / self.allotted if self.allotted else 0.0

    @property
    def alarming(self) -> bool:
        """Whether more should be allotted now."""
        return self.share >= ALARM_SHARE


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    """``mark``: the highest id allotted, as the database knows. ``outside``: as the file knows."""

    mark: int
    floor: int
    outside: int | None

    @property
    def restored(self) -> bool:
        """Whether the database is older than the file: nothing is allotted until confirmed."""
        return self.outside is not None and self.outside > self.mark


def allot(tx: Transaction, cell: Cell) -> None:
    """Note the ranges of a cell; those that it has already stay as they are.

    Raises:
        AlreadyExists: a range overlaps what another cell, also a deleted one, was allotted.
        Refused: the database is older than the mark file, or a range lies below the floor.
    """
    new = [piece for span in cell.sequence_ranges for piece in _uncovered(tx, cell, span)]
    if not new:
        return
    state = high_water_mark(tx.connection, tx.sequence_mark)
    if state.restored:
        why = (
            f"the database knows ids up to {state.mark}, the mark file up to {state.outside}:"
            " it was restored from a backup; confirm the sequences first"
        )
        raise Refused(f"allotting a sequence range to {cell.name}", why)
    low = min(piece.minval for piece in new)
    if low <= state.floor:
        why = f"ids up to {state.floor} may be in use by a cell that a restored backup forgot"
        raise Refused(f"allotting ids from {low} to {cell.name}", why)
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


def next_range(tx: Transaction, size: int) -> SequenceRange:
    """The range after all that was ever allotted; raises `Invalid` where none is left."""
    if not 1 <= size <= MAX_ID:
        raise Invalid(Problem("size", "out of range", f"1 to {MAX_ID}"))
    state = high_water_mark(tx.connection, tx.sequence_mark)
    low = max(state.mark, state.floor) + 1
    if low + size - 1 > MAX_ID:
        raise Invalid(Problem("size", "no such range is left", f"at most {MAX_ID - low + 1}"))
    return SequenceRange(low, low + size - 1)


def forget_cell(tx: Transaction, cell_id: int) -> None:
    """The cell is deleted: its ranges stay allotted, to nobody."""
    tx.connection.execute(update(_R).where(_R.c.cell_id == cell_id).values(cell_id=None))


def confirm(tx: Transaction) -> HighWaterMark:
    """An operator takes the file's mark as true: new ranges start above it."""
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
    return HighWaterMark(row.mark, row.floor, None if file is None else file.read())


def report(tx: Transaction, cell: Cell, last: int) -> SequenceUse:
    """Note the highest id that a cell has handed out; a lower one than before changes nothing.

    Ranges are used in order, so those below it are used up.

    Raises:
        Invalid: the id is in none of the cell's ranges.
    """
    rows = _of_cell(tx.connection, cell.id)
    if not any(row.minval <= last <= row.maxval for row in rows):
        mend = "report an id of a range of the cell"
        raise Invalid(Problem("last", f"{last} is in no range of {cell.name}", mend))
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
    (use,) = [one for one in uses(tx.connection) if one.cell == cell.name]
    return use


def uses(connection: Connection) -> list[SequenceUse]:
    """How far each living cell's ranges are used, by name."""
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
    """The parts of a range that the cell doesn't have yet; raises where another has some."""
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
        # Before the commit: a crash in between wastes ids, the other way round it doubles them.
        tx.before_commit.append(lambda: file.raise_to(new))
