"""The parts that exist whatever the roles are. Every role builds on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from control_plane.classifier.metrics import ClassifierMetrics
from control_plane.edge_health.book import Book
from control_plane.metrics.server import Metrics
from control_plane.owners.source.feed import OwnersFeed
from control_plane.process.background import BackgroundTasks
from control_plane.settings import Settings
from control_plane.topology import Topology
from control_plane.xds.fleet.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Foundation:
    """The parts that every role may use. They stop after all roles have stopped."""

    settings: Settings
    topology: Topology
    metrics: Metrics
    classifier_metrics: ClassifierMetrics
    """The counts of the classifier in this process; without the role they stay zero."""
    fleet: Fleet
    tasks: BackgroundTasks
    own_ports: set[int]
    """The ports of ours on this machine, which no cell may have; those that are bound are added."""
    owners: OwnersFeed
    """Follows the owners of all names, once somebody wants them."""
    worker_files: Path
    """The directory of the classifier's processes, for the life of this server."""
    edges: Book = field(default_factory=Book)
    """The reports of the Envoys that are connected to this process."""
