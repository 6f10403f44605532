"""Metrics of the owners stream and of the tables that edges hold by it."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from control_plane.metrics.catalogue import counter, gauge


class EdgeMapMetrics:
    """How far the tables have come; the observer of the streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._revision = gauge(registry, "cellway_edge_map_revision")
        self._lag = gauge(registry, "cellway_edge_map_lag_seconds")
        self._readers = gauge(registry, "cellway_edge_map_readers", "state")
        self._refused = counter(registry, "cellway_edge_map_refused_total", "code")

    def reader_refused(self, code: str) -> None:
        """Count a stream that was ended with this gRPC status."""
        self._refused.labels(code).inc()

    def watch(
        self,
        *,
        revision: Callable[[], int],
        lag_s: Callable[[], float],
        whole: Callable[[], int],
        loading: Callable[[], int],
    ) -> None:
        """Have each scrape ask for the gauges.

        Args:
            revision: Up to which the table that is served is complete.
            lag_s: For how long the table of some reader was not known to be current.
            whole: How many readers have a whole table.
            loading: How many don't have one yet.
        """
        self._revision.set_function(revision)
        self._lag.set_function(lag_s)
        self._readers.labels("whole").set_function(whole)
        self._readers.labels("loading").set_function(loading)
