"""Background work over the topology."""
