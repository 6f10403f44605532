"""Cells: their life, their ids, their ranges of ids, and whether they are up."""

from control_plane.topology.cells.cells import Cells
from control_plane.topology.cells.drains import DEFAULT_MIN_CAPACITY, Drains
from control_plane.topology.cells.edge_health import EdgeHealth
from control_plane.topology.cells.fleet_reports import FleetReports
from control_plane.topology.cells.rows import CellCache, get_cell
from control_plane.topology.cells.sequences import Sequences

__all__ = [
    "DEFAULT_MIN_CAPACITY",
    "CellCache",
    "Cells",
    "Drains",
    "EdgeHealth",
    "FleetReports",
    "Sequences",
    "get_cell",
]
