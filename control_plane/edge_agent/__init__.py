"""Beside an Envoy: passes its ADS stream on, and keeps on disk what Envoy acknowledged."""
