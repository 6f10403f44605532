"""What Envoys run, and how quickly revisions reach them."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from control_plane.metrics.buckets import SECONDS
from control_plane.xds.fleet.fleet import NodeStatus
from control_plane.xds.session.status import SyncState


class FleetMetrics:
    """The metrics of Envoys and of the revisions sent to them; the observer of a `Fleet`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._revision = Gauge("cellway_revision", "Newest published revision", registry=registry)
        self._nodes = Gauge("cellway_fleet_nodes", "Envoys by state", ["state"], registry=registry)
        self._outdated = Gauge(
            "cellway_fleet_outdated_nodes",
            "Connected Envoys that are older than the fleet needs",
            registry=registry,
        )
        self._nacks = Counter(
            "cellway_xds_nacks_total", "Resources refused", ["type"], registry=registry
        )
        self._push = Histogram(
            "cellway_xds_push_seconds",
            "Time to work out and send what one node is to get of a new snapshot",
            buckets=SECONDS,
            registry=registry,
        )
        self._propagation = Histogram(
            "cellway_propagation_seconds",
            "Commit of a revision, as heard of here, to its last acknowledgement by a node "
            "that was connected when it was published; given up after 60 s",
            buckets=(*SECONDS, 30, 60),
            registry=registry,
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

    def set_nodes(self, nodes: Iterable[NodeStatus]) -> None:
        """Set the gauges from the nodes as they are now."""
        known = tuple(nodes)
        tally = Tally(node.state for node in known)
        for state in SyncState:
            self._nodes.labels(state).set(tally[state])
        self._outdated.set(sum(node.connected and bool(node.outdated) for node in known))
