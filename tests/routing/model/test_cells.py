"""The index of cells: who is in it, and by what names."""

from __future__ import annotations

import itertools

from control_plane.routing.model import Cells, ToCell, in_service
from tests.support.cells import FakeCell

FLEET = (
    FakeCell(2, prefix="two"),
    FakeCell(1, serving=False, accepts_new=False),
    FakeCell(3, retired=True),
    FakeCell(4, accepts_new=False),
    FakeCell(5, weight=7),
)


def test_retired_cells_are_in_no_index() -> None:
    index = Cells(FLEET)
    assert [cell.id for cell in in_service(FLEET)] == [2, 1, 4, 5]
    assert 3 not in index.by_id
    assert "cell-3" not in index.by_name
    assert "cell-3" not in index.by_prefix
    assert "cell-3.example.com" not in index.by_address
    assert 3 not in index.serving


def test_the_order_of_the_cells_does_not_matter() -> None:
    indexes = [Cells(order) for order in itertools.permutations(FLEET)]
    assert {index.all for index in indexes} == {Cells(FLEET).all}
    assert {index.weighted for index in indexes} == {Cells(FLEET).weighted}


def test_the_first_cell_has_the_lowest_id_whether_it_serves_or_not() -> None:
    first = Cells(FLEET).first
    assert first is not None
    assert first.id == 1
    assert Cells([FakeCell(1, retired=True)]).first is None


def test_traffic_goes_to_serving_cells_and_new_traffic_to_those_that_take_it() -> None:
    index = Cells(FLEET)
    assert dict(index.serving) == {number: ToCell(f"cell-{number}", number) for number in (2, 4, 5)}
    assert index.weighted == (("cell-2", 100), ("cell-5", 7))


def test_a_cell_has_the_names_that_rules_call_it_by() -> None:
    index = Cells(FLEET)
    assert index.by_prefix["two"] is index.by_name["cell-2"] is index.by_id[2]
    assert index.by_address["cell-2.example.com"] is index.by_id[2]
