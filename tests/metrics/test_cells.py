"""Which cells are shown as up, and whose reports count."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry

from bench.compile import cells_of
from control_plane.metrics.cells import CellMetrics
from control_plane.topology.values.cell import CellState

HOLDS = ("up", "down")


def test_cells_that_serve_are_shown_and_reports_of_other_names_are_not() -> None:
    registry = CollectorRegistry()
    metrics = CellMetrics(registry)
    up, down, drained, new = cells_of(4)
    cells = [
        up,
        replace(down, healthy=False, share=40),
        replace(drained, state=CellState.DRAINED),
        new,
    ]
    metrics.set_cells(cells, {"cell-1": (3, 1), "no-cell": (9, 9)})
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.labels
    }
    assert values == {
        ("cellway_cell_up", "cell-1"): 1,
        ("cellway_cell_up", "cell-2"): 0,
        ("cellway_cell_up", "cell-4"): 1,
        ("cellway_drain_share", "cell-1"): 100,
        ("cellway_drain_share", "cell-2"): 40,
        ("cellway_drain_share", "cell-4"): 100,
        ("cellway_cell_edges", "cell-1", "up"): 3,
        ("cellway_cell_edges", "cell-1", "down"): 1,
    }
    metrics.set_reporters(3, (2, 1))
    holds = [registry.get_sample_value("cellway_classifier_edges", {"holds": one}) for one in HOLDS]
    assert holds == [2, 1]
    metrics.set_cells([new], {})
    assert registry.get_sample_value("cellway_cell_up", {"cell": "cell-1"}) is None
