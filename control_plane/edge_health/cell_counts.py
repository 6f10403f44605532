"""The counts of those clusters that are cells'."""

from __future__ import annotations

from collections.abc import Mapping

from control_plane.edge_health.book import Count
from control_plane.names import CELL_CLUSTERS


def of_cells(counts: Mapping[str, Count]) -> dict[str, Count]:
    """Return the counts of cells' clusters, by the cell's name, from those of all clusters."""
    return {
        cluster.removeprefix(CELL_CLUSTERS): count
        for cluster, count in counts.items()
        if cluster.startswith(CELL_CLUSTERS)
    }
