"""What the settings say about traffic, as the compiler takes it."""

from __future__ import annotations

from control_plane.compiler.model import ClassifierAddress, TrafficPolicy
from control_plane.process.listening import has_ipv6, numeric, reachable
from control_plane.settings import Settings


def traffic_policy(settings: Settings, *, grpc_port: int, classifier_port: int) -> TrafficPolicy:
    """Return what the fleet is told about traffic.

    Args:
        settings: as read.
        grpc_port: where gRPC listens here; 0: not here.
        classifier_port: where the classifier listens here; 0: not here, so where the settings say.
    """
    grpc_too = settings.classifier_protocol == "grpc"
    port = (grpc_port if grpc_too else classifier_port) or settings.classifier_port
    host = settings.grpc_host if grpc_too else settings.host
    return TrafficPolicy(
        edge_host=numeric(settings.edge_host),
        edge_port=settings.edge_port,
        classifiers=(ClassifierAddress(reachable(host), port),),
        classifier_protocol=settings.classifier_protocol,
        classifier_timeout_s=settings.classifier_timeout_s,
        cell_idle_timeout_s=settings.cell_idle_timeout_s,
        debug_networks=settings.debug_networks,
        dns_resolvers=settings.dns_resolvers(),
        ipv6=has_ipv6() if settings.edge_ipv6 is None else settings.edge_ipv6,
        edge_cache_entries=settings.edge_cache_entries,
        edge_cache_stale_s=settings.edge_cache_stale_s,
    )
