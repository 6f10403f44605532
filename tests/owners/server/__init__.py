"""Tests of `control_plane.owners.server`."""
