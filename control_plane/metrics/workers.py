"""Metrics of the classifier's processes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from control_plane.metrics.catalogue import counter, gauge


class WorkerMetrics:
    """The metrics of the classifier's processes; the observer of their supervisor."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._workers = gauge(registry, "cellway_classifier_workers", "state")
        self._restarts = counter(registry, "cellway_classifier_restarts_total")

    def workers(self, running: int, wanted: int) -> None:
        """Set how many processes run, and how many should."""
        self._workers.labels("running").set(running)
        self._workers.labels("wanted").set(wanted)

    def worker_restarted(self) -> None:
        """Count a process that had died and was started again."""
        self._restarts.inc()
