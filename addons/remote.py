"""Cells and ruleset as the REST API gives them to an addon.

This is a module of its own because mitmproxy does not enter a script in `sys.modules`, and a
dataclass needs its module there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from control_plane.routing.matching import bare_host
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
    server_name: str | None
    """The name that its certificate must carry; None: it speaks plain HTTP."""
    retired: bool = False
    takes_new: bool = True
    share: int = 100


@dataclass(frozen=True, slots=True)
class Edge:
    """Cells and ruleset, as read at one moment."""

    cells: Cells
    cells_by_name: dict[str, RemoteCell]
    ruleset: Ruleset
    version: str
    """The ruleset's name and version, for people."""
    read_at: float
    """When they were read, by the monotonic clock, in seconds."""

    def server_name(self, address: tuple[str, int]) -> str | None:
        """Return the name that the certificate at an address must carry; None: no cell's TLS."""
        for cell in self.cells_by_name.values():
            if cell.server_name is not None and address in map(address_of, cell.endpoints):
                return cell.server_name
        return None


def address_of(endpoint: str) -> tuple[str, int]:
    """Return host and port of an endpoint: ``[::1]:81`` is ``("::1", 81)``."""
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)


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
        _server_name(item),
        item["state"] == "retired",
        # A control plane that is older than the addon says neither.
        item.get("takes_new", item["accepts_new"]),
        item.get("share", 100),
    )


def _server_name(item: dict[str, Any]) -> str | None:
    """Return the name that a cell's certificate must carry; None if it speaks no TLS."""
    tls = item["tls"]
    if tls is None:
        return None
    name: str = tls["server_name"] or item["address"]
    return bare_host(name.encode()).decode().strip("[]")
