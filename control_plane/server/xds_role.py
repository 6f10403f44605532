"""The role ``xds``: serves configuration to Envoys, and hears from them."""

from __future__ import annotations

from dataclasses import dataclass

from control_plane.edge_health import service as edge_health
from control_plane.edge_health.service import HealthReports
from control_plane.jobs.edge_decisions import EdgeDecisions
from control_plane.jobs.fleet_reports import FleetReporter
from control_plane.publisher.publisher import Publisher
from control_plane.publisher.topology_reader import newest_revision
from control_plane.publisher.variants import variant_of
from control_plane.server.fleet_report import fleet_report, own_id
from control_plane.server.foundation import Foundation
from control_plane.server.grpc_listener import GrpcListener
from control_plane.server.owners_role import OwnersRole
from control_plane.server.traffic import traffic_policy
from control_plane.xds.fleet import client_status
from control_plane.xds.fleet.client_status import ClientStatus
from control_plane.xds.server.server import SERVICES, XdsServer
from control_plane.xds.snapshot_cache import SnapshotCache
from control_plane.xds.variants import always_plain


@dataclass(frozen=True, slots=True)
class XdsRole:
    """Follows the topology, serves each revision to Envoys, and decides by what they report."""

    server: XdsServer
    reports: HealthReports
    publisher: Publisher
    owners: OwnersRole
    server_id: str
    """The id under which it reports what its Envoys run."""

    @classmethod
    def start(cls, foundation: Foundation, grpc: GrpcListener, *, classifier_port: int) -> XdsRole:
        """Add the services to the gRPC port, which is bound already, and publish.

        Args:
            foundation: The parts below.
            grpc: Where the services go; it stops this role, before its server.
            classifier_port: Where the classifier listens here; 0: not here.
        """
        topology, fleet, settings = foundation.topology, foundation.fleet, foundation.settings
        cache = SnapshotCache()
        server = XdsServer(
            cache,
            fleet,
            newest_revision=newest_revision(topology),
            force_shrink=settings.force_shrink,
            choose_variant=always_plain if settings.edge_module == "off" else variant_of,
        )
        server.register(grpc.server)
        ClientStatus(fleet).register(grpc.server)
        reports = HealthReports(foundation.edges, foundation.metrics.cells)
        reports.register(grpc.server)
        decisions = EdgeDecisions(
            topology, foundation.edges, connected=lambda: fleet.connected_nodes
        )
        foundation.tasks.start("edge decisions", decisions.run)
        publisher = Publisher(
            topology,
            cache,
            traffic_policy(settings, grpc_port=grpc.port, classifier_port=classifier_port),
            poll_interval_s=settings.poll_interval_s,
            force=settings.force_shrink,
            on_published=fleet.published,
            on_refused=fleet.publication.refused,
        )
        foundation.metrics.cells.watch_denied(lambda: publisher.denied_endpoints)
        publisher.publish()
        foundation.tasks.start("publisher", publisher.run)
        own = own_id(grpc.port, settings.data_dir)
        told = fleet_report(fleet, grpc.port)
        foundation.tasks.start("fleet reports", FleetReporter(topology, own, told).run)
        role = cls(server, reports, publisher, OwnersRole.start(foundation, grpc), own)
        services = [*SERVICES, client_status.SERVICE, edge_health.SERVICE]
        grpc.announce(services, end_streams=role.stop)
        return role

    @property
    def alarm(self) -> str | None:
        """Why some Envoy does not get the newest revision, if a guard keeps it from that."""
        return self.publisher.alarm or self.server.alarm

    def stop(self) -> None:
        """End every stream, so that Envoys go elsewhere."""
        self.server.stop()
        self.reports.stop()
