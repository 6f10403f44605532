"""Claims: who owns a name, and how that changes."""

from control_plane.topology.claims.bulk import Bulk
from control_plane.topology.claims.claims import Claims
from control_plane.topology.claims.epochs import all_epochs
from control_plane.topology.claims.history import History
from control_plane.topology.claims.leases import Leases
from control_plane.topology.claims.move import Moves
from control_plane.topology.claims.open_leases import OpenLeases
from control_plane.topology.claims.records import Records
from control_plane.topology.claims.release import Releases

__all__ = [
    "Bulk",
    "Claims",
    "History",
    "Leases",
    "Moves",
    "OpenLeases",
    "Records",
    "Releases",
    "all_epochs",
]
