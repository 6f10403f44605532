"""Cells for the compiler."""

from __future__ import annotations

from dataclasses import replace

from control_plane.topology.values.cell import Cell, CellState
from control_plane.topology.values.endpoint import Endpoint


def cell(number: int, **more: object) -> Cell:
    made = Cell(
        number, f"cell-{number}", f"cell-{number}.example.com", (Endpoint("10.0.0.1", 443),), None,
        None, f"cell-{number}", (), {}, CellState.ACTIVE, 100, True, 1,
    )  # fmt: skip
    return replace(made, **more)
