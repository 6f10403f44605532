"""Prometheus metrics under the names that dashboards and alerts use."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from control_plane.classifier.metrics import ClassifierMetrics
from control_plane.edge_health.book import Count
from control_plane.metrics.aggregate import Together
from control_plane.topology.cells.sequences import SequenceUse
from control_plane.topology.claims.records import LeaseBacklog
from control_plane.topology.values.cell import Cell, CellState
from control_plane.xds.fleet.fleet import NodeStatus
from control_plane.xds.session.status import SyncState

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class State:
    """What is read at the moment of a scrape."""

    nodes: Iterable[NodeStatus]
    cells: Iterable[Cell]
    claims: Mapping[str, int]
    ruleset_active: bool
    publication_refused: bool
    leases: LeaseBacklog
    sequences: Iterable[SequenceUse]
    sequences_restored: bool
    reporters: int = 0
    """Nodes that report which endpoints they hold healthy."""
    edges: Mapping[str, Count] = field(default_factory=dict)
    """What they hold, by cell."""


class Metrics:
    """The server's metrics, and the observers that feed them."""

    def __init__(self, worker_directory: Path | None = None) -> None:
        self.registry = registry = CollectorRegistry()
        self.revision = Gauge("cellway_revision", "Newest published revision", registry=registry)
        self._refused = Gauge(
            "cellway_publication_refused",
            "1 while a guard keeps the newest revision from the fleet",
            registry=registry,
        )
        self._ruleset = Gauge(
            "cellway_ruleset_active", "1 if a ruleset routes, 0 if none does", registry=registry
        )
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
            buckets=_SECONDS,
            registry=registry,
        )
        self._cells = Gauge(
            "cellway_cell_up",
            "1 if a cell answers its health checks; drained and retired ones are left out",
            ["cell"],
            registry=registry,
        )
        self._reporters = Gauge(
            "cellway_edge_reporters",
            "Envoys that report which endpoints they hold healthy",
            registry=registry,
        )
        self._edges = Gauge(
            "cellway_cell_edges",
            "Reporting Envoys by what they hold of a cell: some endpoint healthy (up), none (down)",
            ["cell", "holds"],
            registry=registry,
        )
        self._reports_refused = Counter(
            "cellway_edge_reports_refused_total",
            "Streams of such reports that were ended for breaking the protocol or a bound",
            ["code"],
            registry=registry,
        )
        self._claims = Gauge("cellway_claims", "Claims", ["bucket"], registry=registry)
        self._leases = Gauge(
            "cellway_leases", "Updates begun and not ended", ["state"], registry=registry
        )
        self._oldest_lease = Gauge(
            "cellway_lease_oldest_seconds", "Age of the oldest open lease", registry=registry
        )
        self._sequences = Gauge(
            "cellway_sequence_used_ratio",
            "Share of its ids that a cell has reported as used",
            ["cell"],
            registry=registry,
        )
        self._restored = Gauge(
            "cellway_sequences_restored",
            "1 while the database is older than the sequences' mark file",
            registry=registry,
        )
        self._propagation = Histogram(
            "cellway_propagation_seconds",
            "Commit of a revision, as heard of here, to its last acknowledgement by a node "
            "that was connected when it was published; given up after 60 s",
            buckets=(*_SECONDS, 30, 60),
            registry=registry,
        )
        self._database = Histogram(
            "cellway_db_seconds",
            "Time of a statement in the database",
            ["query"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._workers = Gauge(
            "cellway_classifier_workers", "Classifier processes", ["state"], registry=registry
        )
        self._restarts = Counter(
            "cellway_classifier_restarts_total",
            "Classifier processes that died and were started again",
            registry=registry,
        )
        own = CollectorRegistry()
        classifier = ClassifierMetrics(own)
        self.classified = classifier.classified
        self.edge_counted = classifier.edge_counted
        self.cache_counted = classifier.cache_counted
        self.refused = classifier.refused
        registry.register(Together(own, worker_directory))

    def published(self, revision: int) -> None:
        """A revision went out to the fleet."""
        self.revision.set(revision)

    def propagated(self, seconds: float) -> None:
        """The last node of those that were to get a revision runs it, is gone, or was given up."""
        self._propagation.observe(seconds)

    def nacked(self, type_url: str) -> None:
        """A node refused resources of this type."""
        self._nacks.labels(type_url.rpartition(".")[2]).inc()

    def report_refused(self, code: str) -> None:
        """A stream of reports was ended with this gRPC status."""
        self._reports_refused.labels(code).inc()

    def pushed(self, seconds: float) -> None:
        """A node was sent what a new snapshot changes for it."""
        self._push.observe(seconds)

    def queried(self, query: str, seconds: float) -> None:
        """The database ran a statement."""
        self._database.labels(query).observe(seconds)

    def workers(self, running: int, wanted: int) -> None:
        """So many classifier processes run now."""
        self._workers.labels("running").set(running)
        self._workers.labels("wanted").set(wanted)

    def worker_restarted(self) -> None:
        """A classifier process had died and was started again."""
        self._restarts.inc()

    def render(self, state: State) -> bytes:
        """The text for Prometheus, with gauges as of now."""
        nodes = tuple(state.nodes)
        tally = Tally(node.state for node in nodes)
        self._outdated.set(sum(node.connected and bool(node.outdated) for node in nodes))
        for state_ in SyncState:
            self._nodes.labels(state_).set(tally[state_])
        self._cells.clear()
        for cell in state.cells:
            if cell.state not in {CellState.DRAINED, CellState.RETIRED}:
                self._cells.labels(cell.name).set(cell.healthy)
        self._reporters.set(state.reporters)
        self._edges.clear()
        for cell in state.cells:
            # Only of cells that exist: what a node calls its clusters is its own affair.
            if (count := state.edges.get(cell.name)) is not None:
                self._edges.labels(cell.name, "up").set(count.up)
                self._edges.labels(cell.name, "down").set(count.down)
        self._claims.clear()
        for bucket, number in state.claims.items():
            self._claims.labels(bucket).set(number)
        self._leases.labels("open").set(state.leases.open)
        self._oldest_lease.set(state.leases.oldest_s)
        self._sequences.clear()
        for use in state.sequences:
            self._sequences.labels(use.cell).set(use.share)
        self._restored.set(state.sequences_restored)
        self._ruleset.set(state.ruleset_active)
        self._refused.set(state.publication_refused)
        return generate_latest(self.registry)
