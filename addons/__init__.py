"""Add-ons for other programs: thin skins over `control_plane.routing`."""
