"""Tracks what each Envoy of the fleet runs, and how long revisions take to reach them all."""
