"""Moves of tenants: claims that go from one cell to another, in steps."""

from control_plane.topology.claims.moves.holds import all_holds
from control_plane.topology.claims.moves.moves import TenantMoves

__all__ = ["TenantMoves", "all_holds"]
