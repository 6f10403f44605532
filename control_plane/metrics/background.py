"""The background tasks of a control plane."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from control_plane.metrics.catalogue import counter


class BackgroundMetrics:
    """The metrics of background tasks; the observer of their supervisor."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._restarts = counter(registry, "cellway_background_restarts_total", "task")

    def task_started(self, name: str) -> None:
        """Show a task with no restarts, so that its first one is an increase."""
        self._restarts.labels(name)

    def task_restarted(self, name: str) -> None:
        """Count a task that had failed and is started again."""
        self._restarts.labels(name).inc()
