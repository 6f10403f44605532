"""The values that a routing decision is made from and made of.

They import nothing of this package, so that each of its rooms may use them.
"""

from control_plane.routing.model.cells import Cell, Cells, in_service
from control_plane.routing.model.decision import (
    ClaimKey,
    Decision,
    Outcome,
    Reason,
    Status,
    Step,
    ToCell,
    Weighted,
)
from control_plane.routing.model.request import Request, join_values

__all__ = [
    "Cell",
    "Cells",
    "ClaimKey",
    "Decision",
    "Outcome",
    "Reason",
    "Request",
    "Status",
    "Step",
    "ToCell",
    "Weighted",
    "in_service",
    "join_values",
]
