"""A range that one cell was ever allotted is never another's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control_plane.topology import Topology
from control_plane.topology.values.cell import CellState, SequenceRange
from control_plane.topology.values.errors import (
    AlreadyExists,
)
from tests.topology.conftest import cell_spec

ME = "operator"


def ranges(topology: Topology, cell: str) -> list[tuple[int, int]]:
    return [(span.minval, span.maxval) for span in topology.cells.get(cell).sequence_ranges]


def delete(topology: Topology, cell: str) -> None:
    topology.cells.set_state(cell, CellState.RETIRED, actor=ME, force=True, reason="test")
    topology.cells.remove(cell, actor=ME)


def test_a_deleted_cells_range_is_nobodys_ever_again(two: Topology) -> None:
    two.sequences.allot("cell-2", 100, actor=ME)
    delete(two, "cell-2")
    assert two.sequences.allot("cell-1", 10, actor=ME).value == SequenceRange(101, 110)
    span = (SequenceRange(100, 100),)
    with pytest.raises(AlreadyExists, match="cell-2, deleted"):
        two.cells.replace("cell-1", replace(cell_spec(1), sequence_ranges=span), actor=ME)
    with pytest.raises(AlreadyExists):
        # The same name and id again: still another cell.
        two.cells.create(replace(cell_spec(2), id=2, sequence_ranges=span), actor=ME)


def test_a_range_may_grow_and_be_given_up_but_not_be_passed_on(two: Topology) -> None:
    two.cells.replace(
        "cell-1", replace(cell_spec(1), sequence_ranges=(SequenceRange(11, 20),)), actor=ME
    )
    two.cells.replace(
        "cell-1", replace(cell_spec(1), sequence_ranges=(SequenceRange(1, 30),)), actor=ME
    )
    two.cells.replace("cell-1", cell_spec(1), actor=ME)
    given_up = (SequenceRange(5, 6),)
    with pytest.raises(AlreadyExists):
        two.cells.replace("cell-2", replace(cell_spec(2), sequence_ranges=given_up), actor=ME)
    two.cells.replace("cell-1", replace(cell_spec(1), sequence_ranges=given_up), actor=ME)
    assert two.sequences.allot("cell-2", 1, actor=ME).value == SequenceRange(31, 31)
