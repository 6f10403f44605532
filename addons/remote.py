"""What an add-on knows of cells and rules from the REST API.

A module of its own because mitmproxy runs a script outside `sys.modules`, where dataclasses fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from control_plane.routing.model import Cells
from control_plane.routing.rules.ruleset import Ruleset


@dataclass(frozen=True, slots=True)
class RemoteCell:
    """A cell as the server tells of it."""

    id: int
    name: str
    address: str
    session_prefix: str | None
    serving: bool
    accepts_new: bool
    weight: int
    endpoints: tuple[str, ...]
    tls: bool
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """Cells and ruleset as of some moment."""

    cells: Cells
    endpoints: dict[str, RemoteCell]
    ruleset: Ruleset
    read_at: float


def remote_cell(item: dict[str, Any]) -> RemoteCell:
    """Read a cell of ``GET /v1/cells``."""
    return RemoteCell(
        item["id"],
        item["name"],
        item["address"],
        item["session_prefix"],
        item["serving"],
        item["accepts_new"],
        item["weight"],
        tuple(item["endpoints"]),
        item["tls"] is not None,
        item["state"] == "retired",
    )
