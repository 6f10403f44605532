"""What each Envoy of the fleet runs."""
