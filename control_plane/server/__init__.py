"""The composition root: the one place where the parts are wired together.

`running` starts a control plane: first its foundation, then its roles in a fixed order. A role is a
dataclass of its parts; ``start`` makes them run and returns it, ``stop`` ends them. Whatever starts
later stops earlier, so that no part outlives one that it uses.
"""

from control_plane.process.background import VitalTaskEnded
from control_plane.server.composition import running, serve
from control_plane.server.plane import Ports, Running
from control_plane.server.topology_role import change_retention, changes_kept

__all__ = [
    "Ports",
    "Running",
    "VitalTaskEnded",
    "change_retention",
    "changes_kept",
    "running",
    "serve",
]
