"""The owners stream at an agent's port: any Envoy of the agent's node may read the table."""

from __future__ import annotations

import logging

import grpc

from control_plane.edge_agent.admission import Admission
from control_plane.edge_agent.map_store import MapStore
from control_plane.edge_agent.map_upstream import MapFollower
from control_plane.edge_agent.metrics import MapMetrics
from control_plane.owners.frames import BadFrame
from control_plane.owners.server.limits import Limits
from control_plane.owners.server.server import OwnersServer

log = logging.getLogger(__name__)
MAX_READERS = 8
"""Streams at once: of an Envoy, of one that takes over from it, and of those that are ending."""


class MapService:
    """Serves the table of a `MapStore`."""

    def __init__(
        self, store: MapStore, follower: MapFollower, admission: Admission, metrics: MapMetrics
    ) -> None:
        self._admission = admission
        self._metrics = metrics
        self._server = OwnersServer(
            store.journal,
            want=follower.want,
            named=self._named,
            observer=self,
            limits=Limits(streams=MAX_READERS, streams_per_node=MAX_READERS),
            told=follower.told,
            damaged=store.report_damage,
        )
        metrics.readers.set_function(lambda: self._server.streams)
        store.on_change = self._server.wake

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a gRPC server."""
        self._server.register(server)

    async def run(self) -> None:
        """Send beats, until cancelled."""
        await self._server.run()

    def _named(self, node_id: str) -> str:
        """Return whose stream it is, or raise `BadFrame` if it is another Envoy's."""
        if self._admission.is_another(node_id):
            raise BadFrame(f"this is {self._admission.node_id!r}'s agent, not {node_id!r}'s")
        return node_id or self._admission.node_id

    def reader_refused(self, code: str) -> None:
        """Count a stream that is ended."""
        self._metrics.refused.inc()
        log.warning("a reader of the table is refused: %s", code)
