"""Tests of `control_plane.owners.source`."""
