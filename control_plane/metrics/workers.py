"""The classifier's processes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class WorkerMetrics:
    """The metrics of the classifier's processes; the observer of their supervisor."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._workers = Gauge(
            "cellway_classifier_workers", "Classifier processes", ["state"], registry=registry
        )
        self._restarts = Counter(
            "cellway_classifier_restarts_total",
            "Classifier processes that died and were started again",
            registry=registry,
        )

    def workers(self, running: int, wanted: int) -> None:
        """Set how many processes run, and how many should."""
        self._workers.labels("running").set(running)
        self._workers.labels("wanted").set(wanted)

    def worker_restarted(self) -> None:
        """Count a process that had died and was started again."""
        self._restarts.inc()
