"""A running control plane, as it is handed to whoever has started it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from control_plane.edge_health.book import Book
from control_plane.process.background import BackgroundTasks
from control_plane.server.advertised import Advertised
from control_plane.server.foundation import Foundation
from control_plane.server.xds_role import XdsRole
from control_plane.settings import Settings
from control_plane.topology import Topology
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.server.server import XdsServer


@dataclass(slots=True)
class Ports:
    """The port on which each part listens; 0: it does not."""

    api: int = 0
    grpc: int = 0
    classifier: int = 0


@dataclass(slots=True)
class Running:
    """A control plane that is up."""

    settings: Settings
    topology: Topology
    fleet: Fleet
    registry: CollectorRegistry
    edges: Book
    """The reports of the Envoys that are connected to this process."""
    tasks: BackgroundTasks
    ports: Ports = field(default_factory=Ports)
    advertised: Advertised | None = None
    """The addresses that Envoys are told; None without the role ``xds``."""
    xds_role: XdsRole | None = None
    workers: list[asyncio.subprocess.Process] = field(default_factory=list)
    """The classifier's processes, by slot; their supervisor replaces those that die."""

    @classmethod
    def over(cls, foundation: Foundation) -> Running:
        """Return a control plane of which no role has started."""
        return cls(
            foundation.settings,
            foundation.topology,
            foundation.fleet,
            foundation.metrics.registry,
            foundation.edges,
            foundation.tasks,
        )

    @property
    def xds(self) -> XdsServer | None:
        """The server that Envoys get their configuration from; None without the role ``xds``."""
        return None if self.xds_role is None else self.xds_role.server

    def alarm(self) -> str | None:
        """Return all that is wrong: publication, writes, background tasks; None if nothing is."""
        alarms = (self.publication_alarm(), self.write_alarm(), self.tasks.alarm)
        return "; ".join(text for text in alarms if text) or None

    def write_alarm(self) -> str | None:
        """Return why writes fail; None if they work."""
        trouble = self.topology.write_trouble
        return None if trouble is None else f"writes fail: {trouble}"

    def publication_alarm(self) -> str | None:
        """Return why some Envoy does not get the newest revision; None if nothing is wrong."""
        return None if self.xds_role is None else self.xds_role.alarm
