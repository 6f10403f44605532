"""The owners stream at an agent's port: any Envoy of the agent's node may read the table."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import grpc

from control_plane.edge_agent.admission import Admission
from control_plane.edge_agent.map_store import MapStore
from control_plane.edge_agent.map_upstream import MapFollower
from control_plane.edge_agent.metrics import MapMetrics
from control_plane.owners.grpc_service import Context, handler
from control_plane.owners.serving import first_message
from control_plane.owners.stored_frames import DamagedFile

log = logging.getLogger(__name__)
MAX_READERS = 8
"""Streams at once: of an Envoy, of one that takes over from it, and of those that are ending."""


class MapService:
    """Serves the table of a `MapStore`."""

    def __init__(
        self, store: MapStore, follower: MapFollower, admission: Admission, metrics: MapMetrics
    ) -> None:
        self._store = store
        self._follower = follower
        self._admission = admission
        self._metrics = metrics
        self._streams = 0

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a gRPC server."""
        server.add_generic_rpc_handlers((handler(self._serve),))

    async def _serve(self, messages: AsyncIterator[bytes], context: Context) -> None:
        if self._streams >= MAX_READERS:
            text = f"{self._streams} streams read the table already"
            await self._refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        self._streams += 1
        self._metrics.readers.set(self._streams)
        try:
            await self._serve_table(messages, context)
        except DamagedFile as error:
            self._store.report_damage(error)
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        finally:
            self._streams -= 1
            self._metrics.readers.set(self._streams)

    async def _serve_table(self, messages: AsyncIterator[bytes], context: Context) -> None:
        first = await first_message(messages)
        if first is None:
            return
        if self._admission.is_another(first.node_id):
            text = f"this is {self._admission.node_id!r}'s agent, not {first.node_id!r}'s"
            await self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, text)
        self._follower.want()
        await self._store.readers.serve(messages, context.write, self._follower.told, first)

    async def _refuse(self, context: Context, code: grpc.StatusCode, text: str) -> None:
        self._metrics.refused.inc()
        log.warning("a reader of the table is refused: %s", text)
        await context.abort(code, text)
