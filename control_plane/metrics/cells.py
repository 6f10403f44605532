"""Metrics of cells: whether they are up, and what the edges report of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry

from control_plane.metrics.catalogue import counter, gauge
from control_plane.topology.values.cell import Cell, CellState

_UNWATCHED = frozenset({CellState.DRAINED, CellState.RETIRED})


class CellMetrics:
    """Whether each cell is up; the observer of the streams on which edges report."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._up = gauge(registry, "cellway_cell_up", "cell")
        self._share = gauge(registry, "cellway_drain_share", "cell")
        self._edges = gauge(registry, "cellway_cell_edges", "cell", "holds")
        self._classifier_edges = gauge(registry, "cellway_classifier_edges", "holds")
        self._reporters = gauge(registry, "cellway_edge_reporters")
        self._reports_refused = counter(registry, "cellway_edge_reports_refused_total", "code")
        self._denied = gauge(registry, "cellway_cell_endpoints_denied")

    def report_refused(self, code: str) -> None:
        """Count a stream of reports that was ended with this gRPC status."""
        self._reports_refused.labels(code).inc()

    def set_cells(self, cells: Iterable[Cell], reports: Mapping[str, tuple[int, int]]) -> None:
        """Set the gauges of each cell.

        Args:
            cells: All cells.
            reports: How many Envoys hold a cell up and down, by its name. Names that are no
                cell's are ignored: a node may call its clusters what it likes.
        """
        self._up.clear()
        self._share.clear()
        self._edges.clear()
        for cell in cells:
            if cell.state not in _UNWATCHED:
                self._up.labels(cell.name).set(cell.healthy)
                self._share.labels(cell.name).set(cell.share)
            if (edges := reports.get(cell.name)) is not None:
                up, down = edges
                self._edges.labels(cell.name, "up").set(up)
                self._edges.labels(cell.name, "down").set(down)

    def watch_denied(self, count: Callable[[], int]) -> None:
        """Have each scrape ask how many declared endpoints are not published."""
        self._denied.set_function(count)

    def set_reporters(self, number: int, classifiers: tuple[int, int]) -> None:
        """Set how many Envoys report, and how many of them reach a classifier and how many none."""
        self._reporters.set(number)
        up, down = classifiers
        self._classifier_edges.labels("up").set(up)
        self._classifier_edges.labels("down").set(down)
