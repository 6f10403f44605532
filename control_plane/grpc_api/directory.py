"""The cells as the protocol shows them, current to the last commit, and the owners of claims."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from google.protobuf.message import Message

from control_plane.grpc_api.generated.cell_info_pb2 import (
    CellInfo,
    GetCellsResponse,
    SequenceRange,
)
from control_plane.topology import Topology
from control_plane.topology.values.cell import Cell, CellState
from control_plane.topology.values.change import TopologySnapshot
from control_plane.topology.values.claim_key import KeyPair


def cell_info(cell: Cell) -> CellInfo:
    """Return a cell as clients see it.

    Older clients read only ``sequence_range``, which is the first of the cell's ranges.
    """
    ranges = [
        SequenceRange(minval=span.minval, maxval=span.maxval) for span in cell.sequence_ranges
    ]
    return CellInfo(
        id=cell.id,
        address=cell.address,
        session_prefix=cell.session_prefix or "",
        sequence_range=ranges[0] if ranges else None,
        sequence_ranges=ranges,
    )


def info_of_cell(topology: Topology, cell_id: int) -> CellInfo | None:
    """Return a cell as clients see it, retired or not; None if there is no such cell."""
    cells = (cell for cell in topology.cells.all() if cell.id == cell_id)
    cell = next(cells, None)
    return None if cell is None else cell_info(cell)


class Directory:
    """The cells of one revision, except retired ones, by id and by session prefix."""

    def __init__(self, snapshot: TopologySnapshot) -> None:
        cells = [cell for cell in snapshot.cells if cell.state is not CellState.RETIRED]
        cells.sort(key=lambda cell: cell.id)
        self.revision = snapshot.edge_revision
        self.by_id = {cell.id: cell for cell in cells}
        self.by_prefix = {cell.session_prefix: cell for cell in cells if cell.session_prefix}
        self.first = cells[0] if cells else None
        """The cell with the lowest id: the answer to FIRST_CELL."""
        self.response = GetCellsResponse(cells=map(cell_info, cells))


class LiveDirectory:
    """The newest `Directory`, and the owners of claims straight from the database.

    Each thread has its own, which no other thread uses. On SQLite a look-up takes microseconds.
    After a change to a cell, reading the cells takes a few milliseconds per hundred of them.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._lookup = topology.claim_lookup()
        try:
            self._directory = Directory(topology.snapshot())
        except BaseException:
            self._lookup.close()  # nobody else has it yet
            raise

    def close(self) -> None:
        """Give the database connection back."""
        self._lookup.close()

    def current(self) -> Directory:
        """Return the cells as of the last commit."""
        if self._lookup.changed() and self._lookup.edge_revision() != self._directory.revision:
            self._directory = Directory(self._topology.snapshot())
        return self._directory

    def owner_ids_of(self, keys: Sequence[KeyPair]) -> list[int | None]:
        """Return the owning cell's id of each key, in order; None where nobody owns it."""
        return self._lookup.owner_ids_of(keys)


class LiveDirectories:
    """Opens a `LiveDirectory` for each thread that asks for one."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: list[LiveDirectory] = []

    def of_this_thread(self) -> LiveDirectory:
        """Return the calling thread's directory.

        Raises:
            Unavailable: The database can't be reached.
        """
        live: LiveDirectory | None = getattr(self._local, "live", None)
        if live is None:
            live = self._local.live = LiveDirectory(self._topology)
            with self._lock:
                self._all.append(live)
        return live

    def get_cells(self, _: Message) -> Message:
        """Answer GetCells, a method that several services have: every cell but retired ones."""
        return self.of_this_thread().current().response

    def close(self) -> None:
        """Close all of them. Every thread but the calling one must have ended."""
        for live in self._all:
            live.close()
