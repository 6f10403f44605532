"""What a drain would change: which part of the free traffic each cell gets after each step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from control_plane.routing.model import Cells
from control_plane.topology import Topology
from control_plane.topology.values.cell import Cell
from control_plane.topology.values.drain import DrainSpec


def preview(topology: Topology, spec: DrainSpec) -> dict[str, Any]:
    """Return what a drain would change, by the cells as they are now."""
    cells = topology.cells.all()
    now, then = _parts(cells), _parts(_with_share(cells, spec.cell, spec.target))
    names = [name for name in now if now[name] != then.get(name)]
    return {
        "steps": [
            {
                "after_s": number * spec.interval_s,
                "share": share,
                "part": _parts(_with_share(cells, spec.cell, share)).get(spec.cell, 0.0),
                "capacity_left": _capacity(_with_share(cells, spec.cell, share)),
            }
            for number, share in enumerate(spec.shares())
        ],
        "parts": [
            {"cell": name, "now": now[name], "at_target": then.get(name, 0.0)} for name in names
        ],
        "claims_that_stay": topology.claims.count_of(spec.cell),
    }


def _with_share(cells: Iterable[Cell], name: str, share: int) -> list[Cell]:
    return [replace(cell, share=share) if cell.name == name else cell for cell in cells]


def _parts(cells: Sequence[Cell]) -> dict[str, float]:
    """Return each cell's part of the free traffic, in percent, by its name."""
    weighted = Cells(cells).weighted
    total = sum(weight for _, weight in weighted)
    return {name: round(100 * weight / total, 2) for name, weight in weighted}


def _capacity(cells: Sequence[Cell]) -> float:
    """Return what is left of the weights of the cells that take new traffic, in percent."""
    takers = [cell for cell in cells if cell.state.takes_new]
    total = sum(cell.weight for cell in takers)
    left = sum(cell.weight * cell.share for cell in takers if cell.healthy)
    return round(left / total, 2) if total else 0.0
