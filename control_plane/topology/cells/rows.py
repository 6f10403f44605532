"""Reads cells from the database, and turns a cell into a row."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, func, select

from control_plane.topology.storage import schema
from control_plane.topology.values import (
    Cell,
    CellState,
    CellTLS,
    Endpoint,
    NotFound,
    SequenceRange,
    is_storable,
)

_T = schema.cells


def all_cells(connection: Connection) -> tuple[Cell, ...]:
    """Return every cell, ordered by id."""
    return tuple(_cell(row) for row in connection.execute(select(_T).order_by(_T.c.id)))


def get_cell(connection: Connection, name: str) -> Cell:
    """Return the cell with this name; raise `NotFound` if there is none."""
    if not is_storable(name):
        raise NotFound("cell", name)
    row = connection.execute(select(_T).where(_T.c.name == name)).one_or_none()
    if row is None:
        raise NotFound("cell", name)
    return _cell(row)


class CellCache:
    """Every cell as of the last read; the next read fetches only the cells that changed since.

    A cell's version is the revision of its last change. So cells with a version above the last
    read's revision are the changed ones, and the number of the others tells whether one was
    deleted: then all cells are read again.
    """

    def __init__(self) -> None:
        self._last_read: tuple[int, dict[int, Cell]] = (0, {})

    def read(self, connection: Connection, revision: int) -> tuple[Cell, ...]:
        """Return every cell, ordered by id; ``revision`` is the newest that it sees."""
        last_revision, last_cells = self._last_read
        cells = None
        if last_revision <= revision:
            cells = self._updated(connection, last_revision, last_cells)
        if cells is None:
            cells = {cell.id: cell for cell in all_cells(connection)}
        # One assignment, because other threads read at the same time.
        self._last_read = (revision, cells)
        return tuple(cells[number] for number in sorted(cells))

    @staticmethod
    def _updated(
        connection: Connection, last_revision: int, last_cells: dict[int, Cell]
    ) -> dict[int, Cell] | None:
        """Return the last read's cells with those that changed since; None if one was deleted."""
        rows = connection.execute(select(_T).where(_T.c.version > last_revision))
        changed = {row.id: _cell(row) for row in rows}
        unchanged = {number: cell for number, cell in last_cells.items() if number not in changed}
        older = select(func.count()).select_from(_T).where(_T.c.version <= last_revision)
        if connection.execute(older).scalar_one() != len(unchanged):
            return None
        return unchanged | changed


def columns(cell: Cell) -> dict[str, Any]:
    """Return a cell's row; what no query asks for is one JSON document in ``details``."""
    return {
        "id": cell.id,
        "name": cell.name,
        "address": cell.address,
        "session_prefix": cell.session_prefix,
        "state": str(cell.state),
        "weight": cell.weight,
        "healthy": cell.healthy,
        "version": cell.version,
        "details": json.dumps(
            {
                "endpoints": [[e.host, e.port] for e in cell.endpoints],
                "tls": None
                if cell.tls is None
                else {"server_name": cell.tls.server_name, "ca_file": cell.tls.ca_file},
                "health_check_path": cell.health_check_path,
                "sequence_ranges": [[s.minval, s.maxval] for s in cell.sequence_ranges],
                "labels": dict(sorted(cell.labels.items())),
            }
        ),
        "share": cell.share,
    }


def _cell(row: Row[Any]) -> Cell:
    details = json.loads(row.details)
    tls = details["tls"]
    return Cell(
        row.id,
        row.name,
        row.address,
        tuple(Endpoint(host, port) for host, port in details["endpoints"]),
        CellTLS(**tls) if tls is not None else None,
        details["health_check_path"],
        row.session_prefix,
        tuple(SequenceRange(low, high) for low, high in details["sequence_ranges"]),
        details["labels"],
        CellState(row.state),
        row.weight,
        bool(row.healthy),
        row.version,
        row.share,
    )
