"""Metrics of the event loop."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from control_plane.metrics.catalogue import histogram

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class EventLoopMetrics:
    """How late the event loop is; the observer of its measurement."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lag = histogram(registry, "cellway_event_loop_lag_seconds", buckets=_BUCKETS)
        self._own = histogram(registry, "cellway_event_loop_own_lag_seconds", buckets=_BUCKETS)

    def lagged(self, lag_s: float, own_s: float) -> None:
        """Record how late the loop was, and how much of that this process was busy."""
        self._lag.observe(lag_s)
        self._own.observe(own_s)
