"""The metrics that the server shows to Prometheus."""
