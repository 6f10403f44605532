"""Cells as the protocol shows them, current to the last commit."""

from __future__ import annotations

import threading
from collections.abc import Sequence

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
    """A cell as clients see it; older ones read only the first of its ranges."""
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


class Directory:
    """The cells of one revision, without retired ones, by what a client can name them by."""

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
    """The newest `Directory`, and owners of claims straight from the database.

    One per thread, and used from it only. On SQLite a look-up takes microseconds, the reading of
    cells after a change to one of them a few milliseconds per hundred cells.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._lookup = topology.claim_lookup()
        self._directory = Directory(topology.snapshot())

    def close(self) -> None:
        """Give the database connection back."""
        self._lookup.close()

    def current(self) -> Directory:
        """The cells as of the last commit."""
        if self._lookup.changed() and self._lookup.edge_revision() != self._directory.revision:
            self._directory = Directory(self._topology.snapshot())
        return self._directory

    def owner_ids_of(self, keys: Sequence[KeyPair]) -> list[int | None]:
        """The owning cell's id of each key, in order; None where nobody owns it."""
        return self._lookup.owner_ids_of(keys)


class LiveDirectories:
    """A `LiveDirectory` for each thread that asks."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._all: list[LiveDirectory] = []

    def of_this_thread(self) -> LiveDirectory:
        """That of the calling thread; raises `Unavailable` where the database is not there."""
        live: LiveDirectory | None = getattr(self._mine, "live", None)
        if live is None:
            live = self._mine.live = LiveDirectory(self._topology)
            with self._lock:
                self._all.append(live)
        return live

    def close(self) -> None:
        """Close them all; the threads must have ended, or be the calling one."""
        for live in self._all:
            live.close()
