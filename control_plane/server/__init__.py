"""The composition root: the one place where the parts are wired together."""

from control_plane.server.composition import Ports, Running, changes_kept, running, serve

__all__ = ["Ports", "Running", "changes_kept", "running", "serve"]
