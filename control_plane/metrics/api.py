"""The REST API's door."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from control_plane.metrics.catalogue import counter


class ApiMetrics:
    """What the REST API refuses before an operation runs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = counter(registry, "cellway_api_refused_total", "reason")

    def refused(self, reason: str) -> None:
        """Count a refusal by the code of its problem."""
        self._refused.labels(reason).inc()
