"""Addons for other programs: thin layers over `control_plane.routing`."""
