"""Leaves out of the fleet's configuration what no cell may have as an endpoint.

New endpoints are checked when they are declared. What is stored may be older than the check, or was
allowed by other settings. Such an endpoint is not published: a cell that has no other answers 503.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from control_plane.topology.values.cell import Cell
from control_plane.topology.values.endpoint_policy import EndpointPolicy

log = logging.getLogger(__name__)


class ReachableCells:
    """Cells with the endpoints that a policy allows. It remembers each cell's last version."""

    def __init__(self, policy: EndpointPolicy) -> None:
        self._policy = policy
        self._seen: dict[int, tuple[Cell, Cell, int]] = {}
        """By id: a cell as it was declared, the same as it is published, and what was left out."""

    def of(self, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """Return cells without the endpoints that are denied."""
        seen = self._seen
        self._seen = {
            cell.id: last
            if (last := seen.get(cell.id)) is not None and (last[0] is cell or last[0] == cell)
            else self._judged(cell)
            for cell in cells
        }
        return tuple(published for _, published, _ in self._seen.values())

    @property
    def denied(self) -> int:
        """How many endpoints were left out in the last call."""
        return sum(left_out for _, _, left_out in self._seen.values())

    def _judged(self, cell: Cell) -> tuple[Cell, Cell, int]:
        reasons = {
            endpoint: why for endpoint in cell.endpoints if (why := self._policy.denial(endpoint))
        }
        if not reasons:
            return cell, cell, 0
        for endpoint, why in reasons.items():
            log.error("%s: its endpoint %s is not published: it %s", cell.name, endpoint, why)
        allowed = tuple(endpoint for endpoint in cell.endpoints if endpoint not in reasons)
        return cell, replace(cell, endpoints=allowed), len(reasons)
