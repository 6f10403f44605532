"""Cells are read as they were written, also by a reader that remembers those of before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec, CellState, SequenceRange
from control_plane.topology.values.endpoint import Endpoint
from tests.topology.conftest import cell_spec

ME = "tester"


def spec(number: int, **more: Any) -> CellSpec:
    return replace(cell_spec(number), **more)


def test_a_snapshot_reads_what_has_changed_and_is_the_truth(two: Topology) -> None:
    first = two.snapshot().cells
    assert first == two.cells.all()
    two.cells.replace("cell-1", spec(1, weight=3), actor=ME)
    two.cells.create(spec(3), actor=ME)
    second = two.snapshot().cells
    assert second == two.cells.all()
    assert second[1] is first[1]
    for state in (CellState.DRAINING, CellState.DRAINED, CellState.RETIRED):
        two.cells.replace("cell-2", spec(2, state=state), actor=ME, force=True, reason="test")
    two.cells.remove("cell-2", actor=ME)
    two.cells.create(spec(2), actor=ME)
    assert two.snapshot().cells == two.cells.all()
    two.cells.set_health("cell-3", healthy=False, actor=ME)
    assert two.snapshot().cells == two.cells.all()


def test_a_cell_comes_back_as_it_was_given(topology: Topology) -> None:
    given = spec(
        7,
        id=7,
        endpoints=(Endpoint("cell.example.com", 8443), Endpoint("other.example.com", 80)),
        labels={"region": "eu"},
        sequence_ranges=(SequenceRange(1, 10),),
        health_check_path="/-/health",
        weight=7,
    )
    topology.cells.create(given, actor=ME)
    assert topology.cells.get("cell-7").spec() == given
