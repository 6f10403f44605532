"""Everything that ``/metrics`` shows of a server: a group of metrics for each area."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from control_plane.edge_health.book import Count
from control_plane.metrics.aggregate import ClassifierMetrics, Together
from control_plane.metrics.cells import CellMetrics
from control_plane.metrics.claims import ClaimMetrics, SequenceMetrics
from control_plane.metrics.database import DatabaseMetrics
from control_plane.metrics.fleet import FleetMetrics
from control_plane.metrics.workers import WorkerMetrics
from control_plane.topology import LeaseBacklog, SequenceUse
from control_plane.topology.values.cell import Cell
from control_plane.xds.fleet.fleet import NodeStatus


@dataclass(frozen=True, slots=True)
class State:
    """What is read at the moment of a scrape."""

    nodes: Iterable[NodeStatus]
    cells: Iterable[Cell]
    claims: Mapping[str, int]
    """The number of claims by bucket."""
    ruleset_active: bool
    publication_refused: bool
    leases: LeaseBacklog
    sequences: Iterable[SequenceUse]
    sequences_restored: bool
    reporters: int = 0
    """Nodes that report which endpoints they hold healthy."""
    edges: Mapping[str, Count] = field(default_factory=dict)
    """What they hold, by cell."""


class PublicationMetrics:
    """Whether anything is published, and whether a guard holds it back."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Gauge(
            "cellway_publication_refused",
            "1 while a guard keeps the newest revision from the fleet",
            registry=registry,
        )
        self._ruleset = Gauge(
            "cellway_ruleset_active", "1 if a ruleset routes, 0 if none does", registry=registry
        )

    def set_publication(self, *, ruleset_active: bool, refused: bool) -> None:
        """Set both gauges."""
        self._ruleset.set(ruleset_active)
        self._refused.set(refused)


class Metrics:
    """The server's metrics. Each group is the observer of the part that feeds it."""

    def __init__(self, worker_directory: Path | None = None) -> None:
        """With ``worker_directory``, what the classifier's processes count there is added."""
        self.registry = registry = CollectorRegistry()
        self.fleet = FleetMetrics(registry)
        self.publication = PublicationMetrics(registry)
        self.cells = CellMetrics(registry)
        self.claims = ClaimMetrics(registry)
        self.sequences = SequenceMetrics(registry)
        self.database = DatabaseMetrics(registry)
        self.workers = WorkerMetrics(registry)
        own = CollectorRegistry()
        self.classifier = ClassifierMetrics(own)
        """What this process decides itself; the same names as in the processes' files."""
        registry.register(Together(own, worker_directory))

    def render(self, state: State) -> bytes:
        """Return the text for Prometheus, with gauges as of now."""
        self.fleet.set_nodes(state.nodes)
        self.publication.set_publication(
            ruleset_active=state.ruleset_active, refused=state.publication_refused
        )
        self.cells.set_cells(state.cells, state.edges)
        self.cells.set_reporters(state.reporters)
        self.claims.set_claims(state.claims)
        self.claims.set_leases(state.leases)
        self.sequences.set_sequences(state.sequences, restored=state.sequences_restored)
        return generate_latest(self.registry)
