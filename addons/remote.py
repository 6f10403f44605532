"""Cells and ruleset as the REST API gives them to an addon.

This is a module of its own because mitmproxy does not enter a script in `sys.modules`, and a
dataclass needs its module there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from control_plane.routing.model import Cells
from control_plane.routing.rules.ruleset import Ruleset


@dataclass(frozen=True, slots=True)
class RemoteCell:
    """A cell, with what routing and the addon need of it."""

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
    """Cells and ruleset, as read at one moment."""

    cells: Cells
    cells_by_name: dict[str, RemoteCell]
    ruleset: Ruleset
    read_at: float
    """When they were read, by the monotonic clock, in seconds."""


def remote_cell(item: dict[str, Any]) -> RemoteCell:
    """Return the cell that an item of ``GET /v1/cells`` describes."""
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
