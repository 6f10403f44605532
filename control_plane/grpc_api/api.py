"""The Topology Service as a whole: every service of the protocol over one topology."""

from __future__ import annotations

import grpc

from control_plane.grpc_api.directory import LiveDirectories
from control_plane.grpc_api.server.methods import CallObserver, Executors, register
from control_plane.grpc_api.services.cells import cell_service, sequence_service
from control_plane.grpc_api.services.claims import ClaimService
from control_plane.grpc_api.services.classify import classify_service
from control_plane.grpc_api.services.first_claims import FirstClaimService
from control_plane.grpc_api.services.probes import health_service
from control_plane.topology import Topology


class TopologyApi:
    """Serves ``gitlab.cells.topology_service.*``. Whoever opened the executors closes them."""

    def __init__(self, topology: Topology, live: LiveDirectories, executors: Executors) -> None:
        self._executors = executors
        self._services = (
            classify_service(live),
            ClaimService(topology, live).methods(),
            FirstClaimService(topology, live).methods(),
            cell_service(live),
            sequence_service(live),
            health_service(topology),
        )

    def register(self, server: grpc.aio.Server, observer: CallObserver) -> tuple[str, ...]:
        """Add the services to a server, and return their full names."""
        return register(server, self._services, self._executors, observer)
