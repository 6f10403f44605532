"""Everything that ``/metrics`` shows of a server: a group of metrics for each area."""

from __future__ import annotations

import math
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
from control_plane.metrics.edge_maps import EdgeMapMetrics
from control_plane.metrics.event_loop import EventLoopMetrics
from control_plane.metrics.fleet import FleetMetrics
from control_plane.metrics.oidc import OidcMetrics
from control_plane.metrics.tls import TlsMetrics
from control_plane.metrics.workers import WorkerMetrics
from control_plane.topology.values.cell import Cell


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """The values of the gauges that are read from the database."""

    cells: Iterable[Cell]
    open_leases: int
    oldest_lease_s: float
    moves: Mapping[str, int]
    """The number of moves of tenants by state."""
    sequences: Mapping[str, float]
    """The share of its ids that a cell has used (0 to 1), by its name."""
    sequences_restored: bool
    ruleset_active: bool


@dataclass(frozen=True, slots=True)
class State:
    """The values of the gauges at the moment of a scrape, as plain numbers and names."""

    nodes: Mapping[str, int]
    """The number of Envoys by state; states without any are there with 0."""
    outdated_nodes: int
    """Connected Envoys that are older than the fleet needs."""
    reporters: int
    """Envoys that report which endpoints they hold healthy."""
    reports: Mapping[str, tuple[int, int]]
    """How many of them hold some endpoint of a cell healthy, and how many none, by its name."""
    classifiers: tuple[int, int]
    """How many of them reach a classifier, and how many none."""
    claims: Mapping[str, int]
    """The number of claims by bucket."""
    database: DatabaseState | None
    """As it was read last; None before the first read."""
    database_readable: bool
    """Whether it was read for this scrape."""
    publication_refused: bool


class PublicationMetrics:
    """Whether anything is published, and whether a guard holds it back."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = gauge(registry, "cellway_publication_refused")
        self._ruleset = gauge(registry, "cellway_ruleset_active")
        # Not known, which is no alarm, until the database has been read.
        self._ruleset.set(math.nan)

    def set_refused(self, *, refused: bool) -> None:
        """Set whether a guard holds the newest revision back."""
        self._refused.set(refused)

    def set_ruleset(self, *, active: bool) -> None:
        """Set whether a ruleset routes."""
        self._ruleset.set(active)


class Metrics:
    """The server's metrics. Each group is the observer of the part that feeds it."""

    def __init__(self, worker_directory: Path | None = None) -> None:
        """With ``worker_directory``, add what the classifier's processes have counted there."""
        self.registry = registry = CollectorRegistry()
        self.fleet = FleetMetrics(registry)
        self.publication = PublicationMetrics(registry)
        self.cells = CellMetrics(registry)
        self.edge_maps = EdgeMapMetrics(registry)
        self.claims = ClaimMetrics(registry)
        self.sequences = SequenceMetrics(registry)
        self.database = DatabaseMetrics(registry)
        self.workers = WorkerMetrics(registry)
        self.api = ApiMetrics(registry)
        self.background = BackgroundMetrics(registry)
        self.event_loop = EventLoopMetrics(registry)
        self.oidc = OidcMetrics(registry)
        self.tls = TlsMetrics(registry)
        self.classifier = CollectorRegistry()
        """For the metrics of this process's classifier, which have the names of the workers'."""
        registry.register(Together(self.classifier, worker_directory))

    def render(self, state: State) -> bytes:
        """Return the text for Prometheus, with gauges as of now."""
        self.fleet.set_nodes(state.nodes, state.outdated_nodes)
        self.publication.set_refused(refused=state.publication_refused)
        self.cells.set_reporters(state.reporters, state.classifiers)
        self.claims.set_claims(state.claims)
        self.database.set_readable(readable=state.database_readable)
        if state.database is not None:
            self._set_stored(state.database, state.reports)
        return generate_latest(self.registry)

    def _set_stored(self, stored: DatabaseState, reports: Mapping[str, tuple[int, int]]) -> None:
        """Set the gauges that are read from the database."""
        self.publication.set_ruleset(active=stored.ruleset_active)
        self.cells.set_cells(stored.cells, reports)
        self.claims.set_leases(stored.open_leases, stored.oldest_lease_s)
        self.claims.set_moves(stored.moves)
        self.sequences.set_sequences(stored.sequences, restored=stored.sequences_restored)
