"""Messages that health reporters send."""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import health_check_pb2
from envoy.service.health.v3 import hds_pb2

UNKNOWN, HEALTHY, UNHEALTHY, DRAINING, TIMEOUT, DEGRADED = (
    health_check_pb2.HealthStatus.Value(name)
    for name in ("UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED")
)


def hello(node: str, group: str = "edge") -> bytes:
    message: Any = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
    message.health_check_request.node.id = node
    message.health_check_request.node.cluster = group
    return bytes(message.SerializeToString())


def report(**clusters: list[int]) -> bytes:
    """Return a report of endpoints' statuses by cluster; ``__`` in a name stands for a colon."""
    message: Any = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
    message.endpoint_health_response.SetInParent()
    for name, statuses in clusters.items():
        one = message.endpoint_health_response.cluster_endpoints_health.add()
        one.cluster_name = name.replace("__", ":")
        locality = one.locality_endpoints_health.add()
        for status in statuses:
            locality.endpoints_health.add(health_status=status)
    return bytes(message.SerializeToString())
