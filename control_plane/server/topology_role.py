"""The role ``topology``: GitLab's Topology Service over gRPC, and the care of the database."""

from __future__ import annotations

from dataclasses import dataclass

from control_plane.grpc_api.api import TopologyApi
from control_plane.grpc_api.directory import LiveDirectories
from control_plane.grpc_api.server.methods import Executors
from control_plane.grpc_api.server.pool import CallPool
from control_plane.grpc_api.server.write_queue import THREADS, WriteQueue
from control_plane.jobs.cell_health import HealthMonitor
from control_plane.jobs.change_retention import ChangeRetention, RetentionPolicy
from control_plane.jobs.drain_steps import DrainSteps
from control_plane.server.foundation import Foundation
from control_plane.server.grpc_listener import GrpcListener
from control_plane.settings import Settings
from control_plane.topology import Topology

LOOKUP_THREADS = 4
"""Look-ups of claims at once on PostgreSQL, each over a connection of its own."""


@dataclass(frozen=True, slots=True)
class TopologyAccess:
    """The threads and connections of the Topology Service and of ``POST /v1/classify``.

    They cost nothing before the first call: each is opened when it is needed.
    """

    live: LiveDirectories
    pools: Executors

    @classmethod
    def open(cls, foundation: Foundation) -> TopologyAccess:
        """Return the access to a foundation's topology."""
        settings, topology = foundation.settings, foundation.topology
        most = settings.grpc_max_calls
        # An embedded database answers within microseconds, on the event loop. Over a network it
        # takes its time, during which the loop has other things to do.
        lookups = None if topology.embedded else CallPool(threads=LOOKUP_THREADS, max_calls=most)
        updates = WriteQueue(
            topology.leases.carry_out, max_calls=most, threads=min(THREADS, settings.grpc_threads)
        )
        transactions = CallPool(threads=settings.grpc_threads, max_calls=most)
        return cls(LiveDirectories(topology), Executors(transactions, updates, lookups))

    async def close(self) -> None:
        """Finish the calls that have begun, then close the connections."""
        await self.pools.updates.close()
        await self.pools.transactions.close()
        if self.pools.lookups is not None:
            await self.pools.lookups.close()
        self.live.close()


def serve_topology(foundation: Foundation, access: TopologyAccess, grpc: GrpcListener) -> None:
    """Add the Topology Service to the gRPC port."""
    api = TopologyApi(foundation.topology, access.live, access.pools)
    grpc.announce(api.register(grpc.server, grpc.counts))


def care_for_changes(foundation: Foundation) -> None:
    """Delete old changes in the background."""
    retention = change_retention(foundation.topology, foundation.settings)
    foundation.tasks.start("change retention", retention.run)


def step_drains(foundation: Foundation) -> None:
    """Make the steps of drains in the background."""
    foundation.tasks.start("drains", DrainSteps(foundation.topology).run)


def watch_cells(foundation: Foundation) -> None:
    """Probe cells in the background."""
    settings = foundation.settings
    # This machine can't know how other DNS servers resolve a name.
    names = not settings.edge_dns_resolvers
    monitor = HealthMonitor(foundation.topology, settings.health_interval_s, names=names)
    foundation.tasks.start("cell health", monitor.run)


def change_retention(topology: Topology, settings: Settings) -> ChangeRetention:
    """Return the job that deletes old changes of a topology."""
    return ChangeRetention(topology, changes_kept(settings))


def changes_kept(settings: Settings) -> RetentionPolicy:
    """Return how much of the change feed is to be kept."""
    return RetentionPolicy(
        settings.changes_kept_days, settings.changes_kept_revisions, settings.changes_archive
    )
