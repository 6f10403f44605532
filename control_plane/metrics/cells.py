"""Whether cells answer: the control plane's health checks, and what edges report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from control_plane.edge_health.book import Count
from control_plane.topology.values.cell import Cell, CellState

_UNWATCHED = frozenset({CellState.DRAINED, CellState.RETIRED})


class CellMetrics:
    """Whether each cell is up; the observer of the streams on which edges report."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._up = Gauge(
            "cellway_cell_up",
            "1 if a cell answers its health checks; drained and retired ones are left out",
            ["cell"],
            registry=registry,
        )
        self._reporters = Gauge(
            "cellway_edge_reporters",
            "Envoys that report which endpoints they hold healthy",
            registry=registry,
        )
        self._edges = Gauge(
            "cellway_cell_edges",
            "Reporting Envoys by what they hold of a cell: some endpoint healthy (up), none (down)",
            ["cell", "holds"],
            registry=registry,
        )
        self._reports_refused = Counter(
            "cellway_edge_reports_refused_total",
            "Streams of such reports that were ended for breaking the protocol or a bound",
            ["code"],
            registry=registry,
        )

    def report_refused(self, code: str) -> None:
        """Count a stream of reports that was ended with this gRPC status."""
        self._reports_refused.labels(code).inc()

    def set_cells(self, cells: Iterable[Cell], reports: Mapping[str, Count]) -> None:
        """Set the gauges of each cell.

        Args:
            cells: All cells.
            reports: How many Envoys hold a cell up and down, by its name. Names that are no
                cell's are ignored: a node may call its clusters what it likes.
        """
        self._up.clear()
        self._edges.clear()
        for cell in cells:
            if cell.state not in _UNWATCHED:
                self._up.labels(cell.name).set(cell.healthy)
            if (count := reports.get(cell.name)) is not None:
                self._edges.labels(cell.name, "up").set(count.up)
                self._edges.labels(cell.name, "down").set(count.down)

    def set_reporters(self, number: int) -> None:
        """Set how many Envoys report."""
        self._reporters.set(number)
