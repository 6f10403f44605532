"""The four variants of xDS, the types that are served, and how a stream of each is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from envoy.service.cluster.v3 import cds_pb2_grpc
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.endpoint.v3 import eds_pb2_grpc
from envoy.service.extension.v3 import config_discovery_pb2_grpc
from envoy.service.listener.v3 import lds_pb2_grpc
from envoy.service.route.v3 import rds_pb2_grpc
from envoy.service.runtime.v3 import rtds_pb2_grpc
from envoy.service.secret.v3 import sds_pb2_grpc

from control_plane.names import CDS, ECDS, EDS, LDS, RDS, RTDS, SDS

TYPES = (CDS, EDS, LDS, RDS, ECDS, SDS, RTDS)
WILDCARD_TYPES = (CDS, LDS)
"""Types with a legacy wildcard, whose state-of-the-world responses hold the full state."""
_SINGLE: dict[str, tuple[Callable[[grpc.aio.Channel], Any], str]] = {
    CDS: (cds_pb2_grpc.ClusterDiscoveryServiceStub, "Clusters"),
    EDS: (eds_pb2_grpc.EndpointDiscoveryServiceStub, "Endpoints"),
    LDS: (lds_pb2_grpc.ListenerDiscoveryServiceStub, "Listeners"),
    RDS: (rds_pb2_grpc.RouteDiscoveryServiceStub, "Routes"),
    ECDS: (config_discovery_pb2_grpc.ExtensionConfigDiscoveryServiceStub, "ExtensionConfigs"),
    SDS: (sds_pb2_grpc.SecretDiscoveryServiceStub, "Secrets"),
    RTDS: (rtds_pb2_grpc.RuntimeDiscoveryServiceStub, "Runtime"),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """Delta or state of the world; one stream for all types or one for each."""

    delta: bool
    aggregated: bool

    def __str__(self) -> str:
        return f"{'delta' if self.delta else 'sotw'}-{'ads' if self.aggregated else 'single'}"


VARIANTS = tuple(
    Variant(delta, aggregated) for delta in (True, False) for aggregated in (True, False)
)


def open_call(channel: grpc.aio.Channel, variant: Variant, type_url: str) -> Any:
    """Open a stream for a type: of its own service, or of ADS."""
    word = "Delta" if variant.delta else "Stream"
    if variant.aggregated:
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        return getattr(stub, f"{word}AggregatedResources")()
    make, noun = _SINGLE[type_url]
    return getattr(make(channel), f"{word}{noun}")()
