"""Everything that ``/metrics`` shows of a server: a group of metrics for each area."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from control_plane.metrics.aggregate import Together
from control_plane.metrics.api import ApiMetrics
from control_plane.metrics.background import BackgroundMetrics
from control_plane.metrics.catalogue import gauge
from control_plane.metrics.cells import CellMetrics
from control_plane.metrics.claims import ClaimMetrics, SequenceMetrics
from control_plane.metrics.database import DatabaseMetrics
from control_plane.metrics.event_loop import EventLoopMetrics
from control_plane.metrics.fleet import FleetMetrics
from control_plane.metrics.oidc import OidcMetrics
from control_plane.metrics.workers import WorkerMetrics
from control_plane.topology.values.cell import Cell


@dataclass(frozen=True, slots=True)
class State:
    """The values of the gauges at the moment of a scrape, as plain numbers and names."""

    nodes: Mapping[str, int]
    """The number of Envoys by state; states without any are there with 0."""
    outdated_nodes: int
    """Connected Envoys that are older than the fleet needs."""
    cells: Iterable[Cell]
    reporters: int
    """Envoys that report which endpoints they hold healthy."""
    reports: Mapping[str, tuple[int, int]]
    """How many of them hold some endpoint of a cell healthy, and how many none, by its name."""
    classifiers: tuple[int, int]
    """How many of them reach a classifier, and how many none."""
    claims: Mapping[str, int]
    """The number of claims by bucket."""
    open_leases: int
    oldest_lease_s: float
    moves: Mapping[str, int]
    """The number of moves of tenants by state."""
    sequences: Mapping[str, float]
    """The share of its ids that a cell has used (0 to 1), by its name."""
    sequences_restored: bool
    ruleset_active: bool
    publication_refused: bool


class PublicationMetrics:
    """Whether anything is published, and whether a guard holds it back."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = gauge(registry, "cellway_publication_refused")
        self._ruleset = gauge(registry, "cellway_ruleset_active")

    def set_publication(self, *, ruleset_active: bool, refused: bool) -> None:
        """Set both gauges."""
        self._ruleset.set(ruleset_active)
        self._refused.set(refused)


class Metrics:
    """The server's metrics. Each group is the observer of the part that feeds it."""

    def __init__(self, worker_directory: Path | None = None) -> None:
        """With ``worker_directory``, add what the classifier's processes have counted there."""
        self.registry = registry = CollectorRegistry()
        self.fleet = FleetMetrics(registry)
        self.publication = PublicationMetrics(registry)
        self.cells = CellMetrics(registry)
        self.claims = ClaimMetrics(registry)
        self.sequences = SequenceMetrics(registry)
        self.database = DatabaseMetrics(registry)
        self.workers = WorkerMetrics(registry)
        self.api = ApiMetrics(registry)
        self.background = BackgroundMetrics(registry)
        self.event_loop = EventLoopMetrics(registry)
        self.oidc = OidcMetrics(registry)
        self.classifier = CollectorRegistry()
        """For the metrics of this process's classifier, which have the names of the workers'."""
        registry.register(Together(self.classifier, worker_directory))

    def render(self, state: State) -> bytes:
        """Return the text for Prometheus, with gauges as of now."""
        self.fleet.set_nodes(state.nodes, state.outdated_nodes)
        self.publication.set_publication(
            ruleset_active=state.ruleset_active, refused=state.publication_refused
        )
        self.cells.set_cells(state.cells, state.reports)
        self.cells.set_reporters(state.reporters, state.classifiers)
        self.claims.set_claims(state.claims)
        self.claims.set_leases(state.open_leases, state.oldest_lease_s)
        self.claims.set_moves(state.moves)
        self.sequences.set_sequences(state.sequences, restored=state.sequences_restored)
        return generate_latest(self.registry)
