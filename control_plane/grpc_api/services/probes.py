"""HealthService: the probes of older clients. Newer ones call ``grpc.health.v1.Health``."""

from __future__ import annotations

from google.protobuf.message import Message

from control_plane.grpc_api.generated.health_service_pb2 import (
    DESCRIPTOR,
    LivenessProbeResponse,
    ReadinessProbeResponse,
)
from control_plane.grpc_api.server.methods import Call, ServiceMethods
from control_plane.topology import Topology


def health_service(topology: Topology) -> ServiceMethods:
    """Return the methods of ``gitlab.cells.topology_service.HealthService``."""

    def ready(_: Message, _call: Call) -> Message:
        # It raises Unavailable if the database can't be read.
        topology.revision()
        return ReadinessProbeResponse()

    def alive(_: Message) -> Message:
        return LivenessProbeResponse()

    return ServiceMethods(
        DESCRIPTOR.services_by_name["HealthService"],
        inline={"LivenessProbe": alive},
        pooled={"ReadinessProbe": ready},
    )
