"""Serves resources to Envoy over xDS and tracks what each node runs; knows nothing of cells."""
