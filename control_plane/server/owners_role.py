"""The owners stream of this control plane: a feed of the topology, and the service that sends it.

It belongs to the role ``xds``, and does nothing until the first reader comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from control_plane.grpc_api.auth.guard import current_caller
from control_plane.grpc_api.auth.identity import Role
from control_plane.names import OWNERS_SERVICE
from control_plane.owners.server.readers import by_node
from control_plane.owners.server.server import OwnersServer
from control_plane.owners.source.builder import BaseBuilder
from control_plane.owners.source.feed import READ_FEED_S, OwnersFeed
from control_plane.server.foundation import Foundation
from control_plane.server.grpc_listener import GrpcListener
from control_plane.xds.fleet.fleet import Fleet


@dataclass(frozen=True, slots=True)
class OwnersRole:
    """Follows the owners of the topology, and serves them to edges."""

    feed: OwnersFeed
    server: OwnersServer
    fleet: Fleet

    @classmethod
    def start(cls, foundation: Foundation, grpc: GrpcListener) -> OwnersRole:
        """Add the service to the gRPC port, which stops its streams."""
        topology, settings = foundation.topology, foundation.settings
        builder = BaseBuilder(topology, settings.data_dir)
        feed = OwnersFeed(topology, builder, poll_s=min(READ_FEED_S, settings.poll_interval_s))
        server = OwnersServer(
            feed.journal,
            want=feed.want,
            named=node_of_caller,
            observer=foundation.metrics.edge_maps,
        )
        feed.serve(lambda: server.streams, server.wake)
        server.register(grpc.server)
        foundation.tasks.start("owners feed", feed.run)
        foundation.tasks.start("owners beats", server.run)
        grpc.announce([OWNERS_SERVICE], end_streams=server.stop, described=False)
        role = cls(feed, server, foundation.fleet)
        foundation.metrics.edge_maps.watch(
            revision=lambda: feed.journal.revision,
            lag_s=lambda: max((one.lag_s for one in server.statuses()), default=0.0),
            whole=lambda: role.count(whole=True),
            loading=lambda: role.count(whole=False),
        )
        return role

    def count(self, *, whole: bool) -> int:
        """Return how many readers have a whole table, or have none yet."""
        return sum((one.revision > 0) is whole for one in self.server.statuses())

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return what each node says of its table, by node id, in plain JSON types."""
        best = by_node(self.server.statuses(), self.fleet.nodes_by_peer())
        return {node: one.as_dict() for node, one in best.items()}


def node_of_caller(node_id: str) -> str:
    """Return the node that a reader names, else the one that its certificate names, else ""."""
    caller = current_caller.get()
    if node_id or caller is None:
        return node_id
    nodes = (one.node for one in caller.identities if one.role is Role.NODE)
    return next(nodes, "")
