"""Builds the module that runs inside Envoy, and opens its parts for Python."""
