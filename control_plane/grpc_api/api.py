"""The Topology Service as a whole: every service of the protocol over one topology."""

from __future__ import annotations

import grpc

from control_plane.grpc_api.cells import cell_service, sequence_service
from control_plane.grpc_api.claims import Claims
from control_plane.grpc_api.classify import classify_service
from control_plane.grpc_api.directory import LiveDirectory
from control_plane.grpc_api.first_claims import FirstClaims
from control_plane.grpc_api.probes import health_service
from control_plane.grpc_api.service import Observer, register
from control_plane.grpc_api.work import Work
from control_plane.topology.service import Topology


class TopologyApi:
    """Serves ``gitlab.cells.topology_service.*``.

    ``threads`` run blocking calls; at most ``max_calls`` of these run or wait at once.
    """

    def __init__(
        self, topology: Topology, live: LiveDirectory, *, threads: int, max_calls: int
    ) -> None:
        self._work = Work(threads=threads, max_calls=max_calls)
        self._services = (
            classify_service(live),
            Claims(topology, live).service(),
            FirstClaims(topology, live).service(),
            cell_service(live),
            sequence_service(live),
            health_service(topology),
        )

    def register(self, server: grpc.aio.Server, observer: Observer) -> tuple[str, ...]:
        """Add the services to a server; gives their full names."""
        return register(server, self._services, self._work, observer)

    async def close(self) -> None:
        """Finish the calls that have begun. The server must have stopped taking new ones."""
        await self._work.close()
