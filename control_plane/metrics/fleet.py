"""Metrics of Envoys: what they run, and how quickly revisions reach them."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from control_plane.metrics.catalogue import SECONDS, counter, gauge, histogram


class FleetMetrics:
    """The metrics of Envoys and of the revisions sent to them; the observer of a `Fleet`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._revision = gauge(registry, "cellway_revision")
        self._nodes = gauge(registry, "cellway_fleet_nodes", "state")
        self._outdated = gauge(registry, "cellway_fleet_outdated_nodes")
        self._nacks = counter(registry, "cellway_xds_nacks_total", "type")
        self._push = histogram(registry, "cellway_xds_push_seconds")
        self._propagation = histogram(
            registry, "cellway_propagation_seconds", buckets=(*SECONDS, 30, 60)
        )

    def published(self, revision: int) -> None:
        """Record that a revision went out to the fleet."""
        self._revision.set(revision)

    def propagated(self, seconds: float) -> None:
        """Record how long a revision took to its last node.

        A node that disconnects or is given up counts as reached.
        """
        self._propagation.observe(seconds)

    def nacked(self, type_url: str) -> None:
        """Count a refusal of resources of this type."""
        self._nacks.labels(type_url.rpartition(".")[2]).inc()

    def pushed(self, seconds: float) -> None:
        """Record how long it took to send a node what a new snapshot changes for it."""
        self._push.observe(seconds)

    def set_nodes(self, by_state: Mapping[str, int], outdated: int) -> None:
        """Set the number of Envoys in each state, and of those that are too old."""
        for state, number in by_state.items():
            self._nodes.labels(state).set(number)
        self._outdated.set(outdated)
